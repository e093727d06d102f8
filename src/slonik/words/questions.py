"""Questions to word vectors: the nearest words, a sum of words (KING + (WOMAN - MAN)), the odd one out.

3CosAdd (Mikolov, Yih, Zweig 2013): the word with the greatest cosine to the sum of the question's unit vectors, each
with its sign. 3CosMul (Levy, Goldberg 2014, equation 3): the greatest product of cosines, moved to 0 .. 1, to the
words that are added, over that to the words that are taken away. Words of the question are no answers, as in both
papers: without that rule the answer is mostly one of them.

Shapes: V words, D dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.models.word_vectors import WordVectors

Method = Literal["add", "mul"]
METHODS: dict[Method, str] = {"add": "3CosAdd", "mul": "3CosMul"}
_EPSILON = 1e-6  # of 3CosMul, as gensim's
_SIGNS = {"+": 1, "-": -1, "−": -1, "–": -1, "—": -1}
_PARTS = re.compile(r"[()+−–—]|(?<![^\s(])-|[^\s()+−–—]+")


@dataclass(frozen=True)
class Neighbour:
    """A word and how near it is: a cosine, of 3CosMul a ratio of products."""

    word: str
    score: float


def known_vector(vectors: WordVectors, word: str) -> FloatArray:
    """The unit vector (D,) of a word, stored or made of its parts.

    Raises:
        SlonikError: it has none; words that begin alike are named.
    """
    if not word.strip():
        raise SlonikError("an empty word has no vector: name one")
    found = vectors.vector(word)
    if found is None:
        begun = [other for other in vectors.words if other.lower().startswith(f"{word.lower()}_")][:3]
        if not begun and len(word) > 3:
            begun = [other for other in vectors.words if other.startswith(word.lower()[:-2])][:3]
        advice = f"; words that are there: {', '.join(begun)}" if begun else ""
        raise SlonikError(f"{vectors.name} has no vector of the word {word!r} among its {len(vectors):,}{advice}")
    if not np.any(found):
        raise SlonikError(
            f"the vector of {word!r} in {vectors.name} is all zero: it has no direction, and no neighbours"
        )
    return vectors.normalised(found)


def nearest(vectors: WordVectors, word: str, top: int = 10) -> list[Neighbour]:
    """The `top` words with the greatest cosine to `word`, without the word itself in any spelling.

    Raises:
        SlonikError: the word has no vector, or `top` is below 1.
    """
    scores = vectors.unit @ known_vector(vectors, word)
    return _best(vectors, scores, [word], top)


def parse_sum(text: str) -> list[tuple[str, int]]:
    """Words with their signs of "король + (женщина - мужчина)" or "Москва - Россия + Франция".

    A minus inside a word (кто-то) belongs to it: a sign between words has a space before it.

    Raises:
        SlonikError: no sum of two words at least, signs without a word, brackets that do not match.
    """
    found: list[tuple[str, int]] = []
    around, pending, ended = [1], 0, False  # signs of the open brackets; the sign to come; whether a word has ended
    for part in _PARTS.findall(text):
        if part in _SIGNS:
            if pending:
                raise _unclear(text, "has two signs in a row")
            pending, ended = _SIGNS[part], False
        elif part == ")":
            if len(around) == 1 or not ended:
                raise _unclear(text, "has a bracket that closes nothing")
            around.pop()
        elif ended:
            raise _unclear(text, f"has no sign before {part!r}")
        elif part == "(":
            around.append(around[-1] * (pending or 1))
            pending = 0
        else:
            found.append((part, around[-1] * (pending or 1)))
            pending, ended = 0, True
    if not ended or len(around) > 1 or len(found) < 2:
        raise _unclear(text, "ends too early" if found else "has no words")
    return found


def _unclear(text: str, why: str) -> SlonikError:
    return SlonikError(f'{text!r} {why}: write a sum of words, e.g. "король + (женщина - мужчина)", with spaces')


def solve(
    vectors: WordVectors, terms: Sequence[tuple[str, int]], *, method: Method = "add", top: int = 10
) -> list[Neighbour]:
    """The best answers to a sum of words with signs 1 and -1, words of the question left out.

    Raises:
        SlonikError: a word has no vector, an unknown method, or `top` is below 1.
    """
    if method not in METHODS:
        raise SlonikError(f"the method is {method!r}: use {', '.join(METHODS)}")
    units = np.stack([known_vector(vectors, word) for word, _ in terms])
    signs = np.array([sign for _, sign in terms])
    scores = combined(vectors.unit @ units.T, signs, method) if method == "mul" else _added(vectors, units, signs)
    return _best(vectors, scores, [word for word, _ in terms], top)


def _added(vectors: WordVectors, units: FloatArray, signs: NDArray[np.int_]) -> FloatArray:
    """Cosines (V,) to the sum of unit vectors."""
    found: FloatArray = vectors.unit @ vectors.normalised((units * signs[:, None]).sum(0))
    return found


def combined(cosines: FloatArray, signs: NDArray[np.int_], method: Method) -> FloatArray:
    """Scores (...,) from cosines (..., words of the question): 3CosAdd up to a factor, or 3CosMul."""
    if method == "add":
        return np.asarray(cosines @ signs.astype(np.float32))
    moved = (1.0 + cosines) / 2.0
    above, below = moved[..., signs > 0].prod(-1), moved[..., signs < 0].prod(-1)
    return np.asarray(above / (below + _EPSILON))


def odd_one_out(vectors: WordVectors, words: Sequence[str]) -> tuple[str, list[Neighbour]]:
    """The word whose cosine to the mean of all the words' unit vectors is the least, and that cosine of every word.

    Raises:
        SlonikError: fewer than three words, one twice, or one without a vector.
    """
    if len(words) < 3 or len(set(words)) != len(words):
        raise SlonikError(f"the odd one out of {', '.join(words) or 'nothing'}: give three different words at least")
    units = np.stack([known_vector(vectors, word) for word in words])
    cosines = units @ vectors.normalised(units.mean(0))
    ranked = sorted(zip(words, cosines.tolist(), strict=True), key=lambda pair: pair[1])
    return ranked[0][0], [Neighbour(word, score) for word, score in ranked]


def _best(vectors: WordVectors, scores: FloatArray, without: Iterable[str], top: int) -> list[Neighbour]:
    if top < 1:
        raise SlonikError(f"--top is {top}: give 1 or more")
    gone = {number for word in without if (number := vectors.number(word)) is not None}
    count = min(top + len(gone), len(scores))
    best = np.argpartition(-scores, count - 1)[:count] if count < len(scores) else np.arange(len(scores))
    best = best[np.lexsort((best, -scores[best]))]
    return [Neighbour(vectors.words[i], float(scores[i])) for i in best.tolist() if i not in gone][:top]
