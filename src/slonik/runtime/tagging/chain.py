"""A linear chain over scores of words, in numpy: its rules, its best sequence, its marginals.

The same sums as `slonik.models.heads.crf`, which trains it. A sequence y of n words scores start[y_1] + sum of
emissions[t, y_t] + sum of transitions[y_t, y_t+1] + end[y_n]; -inf is forbidden.

Sources: Lafferty, McCallum, Pereira 2001 (the model); Rabiner 1989, section V.A (scaling instead of logarithms).

Shapes: T words, L labels as `slonik.runtime.tagging.labels` numbers them: O is 0, B of class c is 2 c + 1, I of class c
is 2 c + 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.text.tensors import read_tensors, write_tensors

_TINY = 1e-300
_IMPOSSIBLE = -np.inf


def allowed_steps(size: int) -> NDArray[np.bool_]:
    """(L, L) True where the label of the column may follow that of the row: I-X follows B-X and I-X only."""
    matrix = np.ones((size, size), dtype=np.bool_)
    for inside in range(2, size, 2):
        matrix[:, inside] = False
        matrix[[inside - 1, inside], inside] = True
    return matrix


def allowed_first(size: int) -> NDArray[np.bool_]:
    """(L,) True for labels that a text may begin with: every one but I-X."""
    labels = np.arange(size)
    return (labels == 0) | (labels % 2 == 1)


def viterbi(emissions: FloatArray, transitions: FloatArray, start: FloatArray, end: FloatArray) -> NDArray[np.int64]:
    """(T,) the label sequence of the highest score for (T, L) emissions of one sequence.

    Of equal ones, the lower label numbers win.
    """
    length = len(emissions)
    path = np.zeros(length, dtype=np.int64)
    if length == 0:
        return path
    labels = np.arange(emissions.shape[1])
    into = np.ascontiguousarray(transitions.T)  # row: the label that is stepped into
    came_from = np.empty((length, len(labels)), dtype=np.int64)
    state = start + emissions[0]
    for time in range(1, length):
        reached = into + state
        came_from[time] = source = reached.argmax(1)
        state = reached[labels, source] + emissions[time]
    path[-1] = (state + end).argmax()
    for time in range(length - 1, 0, -1):
        path[time - 1] = came_from[time, path[time]]
    return path


@dataclass(frozen=True)
class Chain:
    """Scores of label transitions under the BIO rules.

    Attributes:
        transitions: (L, L) from row to column, -inf where forbidden.
        start, end: (L,) for the first and the last label.
        trained: whether they were learned (a CRF); otherwise they are 0 where they are not forbidden.
    """

    transitions: FloatArray
    start: FloatArray
    end: FloatArray
    trained: bool

    @classmethod
    def of(cls, size: int, scores: tuple[FloatArray, FloatArray, FloatArray] | None = None) -> Chain:
        """The chain of `size` labels with these (transitions, start, end), or with the BIO rules alone."""
        found = scores or (np.zeros((size, size)), np.zeros(size), np.zeros(size))
        transitions, start, end = (np.array(part, dtype=np.float32) for part in found)
        transitions[~allowed_steps(size)] = _IMPOSSIBLE
        start[~allowed_first(size)] = _IMPOSSIBLE
        return cls(transitions, start, end, scores is not None)

    @classmethod
    def read(cls, path: Path, size: int) -> Chain:
        """The chain that `write` wrote.

        Raises:
            SlonikError: the file is missing or damaged, or holds no scores of `size` labels.
        """
        found = read_tensors(path)
        shapes = {"transitions": (size, size), "start": (size,), "end": (size,)}
        for name, shape in shapes.items():
            if name not in found or found[name].shape != shape or not np.isfinite(found[name]).all():
                raise SlonikError(f"{path} has no {name} of {size} labels: export the tagger again, or copy it whole")
        return cls.of(size, (found["transitions"], found["start"], found["end"]))

    def write(self, path: Path) -> None:
        """Write the scores, 0 where they are forbidden: the rules are known without them."""
        parts = {"transitions": self.transitions, "start": self.start, "end": self.end}
        write_tensors(path, {name: np.where(np.isfinite(part), part, np.float32(0)) for name, part in parts.items()})

    def decode(self, emissions: FloatArray) -> NDArray[np.int64]:
        """(T,) the best label sequence that the rules allow."""
        tags: NDArray[np.int64] = emissions.argmax(-1).astype(np.int64)
        if len(tags) == 0 or (not self.trained and _is_valid(tags)):
            return tags  # without scores of its own the best label of every word is the best valid sequence
        return viterbi(emissions, self.transitions, self.start, self.end)

    def marginals(self, emissions: FloatArray) -> FloatArray:
        """(T, L) probability of each label of each word of one sequence.

        Without scores of its own this is the softmax of each word, not renormalised by the rules.
        """
        if len(emissions) == 0:
            return np.zeros_like(emissions)
        local = np.exp(emissions.astype(np.float64) - emissions.max(-1, keepdims=True))
        if not self.trained:
            found: FloatArray = (local / local.sum(-1, keepdims=True)).astype(np.float32)
            return found
        steps, start, end = (np.exp(part.astype(np.float64)) for part in (self.transitions, self.start, self.end))
        alpha, scales = np.empty_like(local), np.empty(len(local))
        state = start
        for time, values in enumerate(local):
            state = (state if time == 0 else state @ steps) * values
            scales[time] = total = max(float(state.sum()), _TINY)
            alpha[time] = state = state / total
        share = local / scales[:, None]
        beta = np.empty_like(local)
        beta[-1] = state = end / max(float(alpha[-1] @ end), _TINY)
        for time in range(len(local) - 2, -1, -1):
            beta[time] = state = steps @ (share[time + 1] * state)
        marginals: FloatArray = (alpha * beta).astype(np.float32)
        return marginals


def _is_valid(tags: NDArray[np.int64]) -> bool:
    before = np.concatenate([[0], tags[:-1]])  # what may begin a text is what may follow O
    inside = (tags % 2 == 0) & (tags > 0)
    return bool(((before == tags) | (before == tags - 1))[inside].all())
