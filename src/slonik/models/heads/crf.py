"""A linear chain over word scores: its exact sums and maxima, and the CRF layer with the BIO rules built in.

A sequence y of a text with n words scores start[y_1] + sum of emissions[t, y_t] + sum of transitions[y_t, y_t+1] +
end[y_n]; a transition of -inf is forbidden. `log_partition` has an exact gradient of its own (the marginals), so no
graph over time is kept. Without trainable scores the layer is the plain softmax tagger read under the BIO rules, so
that every tagger is decoded in one way. The layer makes no emissions.

Sources: Lafferty, McCallum, Pereira 2001 (the model); Rabiner 1989, section V.A (scaling instead of logarithms).

Shapes: B sequences, T words of the longest, L labels as `slonik.runtime.tagging.labels` numbers them: O is 0, B of
class c is 2 c + 1, I of class c is 2 c + 2. A mask is True for the words of a sequence, which stand first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.core.protocols import FloatArray
from slonik.runtime.tagging.chain import Chain, allowed_first, allowed_steps
from slonik.runtime.tagging.chain import viterbi as best_sequence

_TINY = 1e-300
_IMPOSSIBLE = float("-inf")


@dataclass(frozen=True)
class Scores:
    """The parts of a chain's score that do not depend on the words.

    Attributes:
        transitions: (L, L) from row to column, -inf where forbidden.
        start, end: (L,) for the first and the last label.
    """

    transitions: Tensor
    start: Tensor
    end: Tensor

    def beside(self, emissions: Tensor) -> Scores:
        """The same scores on the device of `emissions`."""
        device = emissions.device
        return Scores(self.transitions.to(device), self.start.to(device), self.end.to(device))


@dataclass(frozen=True)
class Posterior:
    """What the chain says about each sequence, float64.

    Attributes:
        log_partition: (B,) logarithm of the sum of exp(score) over all label sequences.
        marginals: (B, T, L) probability of each label of each word; 0 beyond the sequence.
        pairs: (B, L, L) expected number of each transition.
    """

    log_partition: Tensor
    marginals: Tensor
    pairs: Tensor


@torch.no_grad()
def forward_backward(emissions: Tensor, mask: Tensor, scores: Scores) -> Posterior:
    """Sums over all label sequences, in O(T L^2).

    Args:
        emissions: (B, T, L).
        mask: (B, T) bool.
    """
    batch, length, labels = emissions.shape
    highest = emissions.double().amax(-1)  # (B, T)
    local = (emissions.double() - highest[..., None]).exp()
    steps, start, end = (part.double().exp() for part in (scores.transitions, scores.start, scores.end))
    whole = bool(mask.all())  # nothing to hold back: a document alone, the usual case when tagging
    alpha = local.new_zeros(length, batch, labels)
    scale = local.new_ones(length, batch)
    state = local.new_full((batch, labels), 1.0 / labels)
    for time in range(length):
        reached = (start if time == 0 else state @ steps) * local[:, time]
        total = reached.sum(-1).clamp(min=_TINY)
        reached /= total[:, None]
        live = mask[:, time]
        state = reached if whole else torch.where(live[:, None], reached, state)
        scale[time] = total if whole else torch.where(live, total, scale[time])
        alpha[time] = state
    closing = (state * end).sum(-1).clamp(min=_TINY)
    logarithm = (scale.log().T + highest.masked_fill(~mask, 0.0)).sum(-1) + closing.log()
    log_partition = torch.where(mask.any(-1), logarithm, 0.0)
    beta = local.new_zeros(length, batch, labels)
    ahead = local.new_zeros(length, batch, labels)  # e_t(j) beta_t(j) / c_t: what a step into t meets
    share = local.transpose(0, 1) / scale[..., None] * mask.T[..., None]
    backward = steps.T.contiguous()
    state = last = end / closing[:, None]
    for time in range(length - 1, -1, -1):
        if time < length - 1:
            behind = ahead[time + 1] @ backward
            state = behind if whole else torch.where(mask[:, time + 1, None], behind, last)
        beta[time] = state
        ahead[time] = share[time] * state
    marginals = (alpha * beta).transpose(0, 1) * mask[..., None]
    pairs = torch.einsum("tbi,tbj->bij", alpha[:-1], ahead[1:]) * steps
    return Posterior(log_partition, marginals, pairs)


class _LogPartition(torch.autograd.Function):
    """log Z with its gradient: marginals for emissions, expected counts for transitions."""

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, mask: Tensor, transitions: Tensor, start: Tensor, end: Tensor) -> Tensor:
        found = forward_backward(emissions, mask, Scores(transitions, start, end))
        ctx.save_for_backward(found.marginals, found.pairs, mask)
        ctx.types = (emissions.dtype, transitions.dtype)
        return found.log_partition.to(torch.promote_types(emissions.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        marginals, pairs, mask = ctx.saved_tensors
        outer = gradients[0].double()
        kind, step_kind = ctx.types
        weighted = marginals * outer[:, None, None]
        last = weighted[torch.arange(len(mask)), mask.sum(-1).clamp(min=1) - 1].sum(0)
        steps = torch.einsum("b,bij->ij", outer, pairs)
        return weighted.to(kind), None, steps.to(step_kind), weighted[:, 0].sum(0).to(step_kind), last.to(step_kind)


def log_partition(emissions: Tensor, mask: Tensor, scores: Scores) -> Tensor:
    """(B,) log of the sum over all sequences, differentiable once in emissions and scores."""
    return _LogPartition.apply(emissions, mask, scores.transitions, scores.start, scores.end)  # type: ignore[no-any-return, no-untyped-call]


def path_score(emissions: Tensor, tags: Tensor, mask: Tensor, scores: Scores) -> Tensor:
    """(B,) score of one label sequence each, -inf for a forbidden one.

    Args:
        tags: (B, T) labels; whatever stands beyond the mask is not read.
    """
    tags = torch.where(mask, tags, 0)
    words = emissions.gather(-1, tags[..., None])[..., 0].masked_fill(~mask, 0.0).sum(-1)
    moves = scores.transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~mask[:, 1:], 0.0).sum(-1)
    last = tags.gather(1, mask.sum(-1, keepdim=True).clamp(min=1) - 1)[:, 0]
    ends = (scores.start[tags[:, 0]] + scores.end[last]).masked_fill(~mask.any(-1), 0.0)
    return words + moves + ends


@torch.no_grad()
def viterbi(emissions: FloatArray, scores: Scores) -> NDArray[np.int64]:
    """(T,) the label sequence of the highest score for (T, L) emissions of one sequence.

    Of equal ones, the lower label numbers win. In numpy: its small steps cost a tenth of torch's.
    """
    transitions, start, end = (part.float().cpu().numpy() for part in (scores.transitions, scores.start, scores.end))
    return best_sequence(emissions, transitions, start, end)


class LinearChainCrf(nn.Module):
    """Transition, start and end scores of a chain of BIO labels.

    Args:
        size: number of labels, numbered as in `BioLabels`.
        trainable: whether the scores are parameters (a CRF), or zeros (BIO rules alone).
    """

    def __init__(self, size: int, *, trainable: bool = True) -> None:
        super().__init__()
        self.trainable = trainable
        for name, shape in {"transitions": (size, size), "start": (size,), "end": (size,)}.items():
            if trainable:
                self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
            else:
                self.register_buffer(name, torch.zeros(shape), persistent=False)
        self.register_buffer("forbidden", torch.from_numpy(~allowed_steps(size)), persistent=False)
        self.register_buffer("forbidden_first", torch.from_numpy(~allowed_first(size)), persistent=False)

    def scores(self, temperature: float = 1.0) -> Scores:
        """The scores divided by `temperature`, with -inf where BIO forbids."""
        transitions, start, end = self._free_scores()
        return Scores(
            (transitions / temperature).masked_fill(self._tensor("forbidden"), _IMPOSSIBLE),
            (start / temperature).masked_fill(self._tensor("forbidden_first"), _IMPOSSIBLE),
            end / temperature,
        )

    def negative_log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """(B,) -log p(tags): 0 or more, inf for a sequence that BIO forbids."""
        scores = self.scores()
        emissions = emissions.float()
        return log_partition(emissions, mask, scores) - path_score(emissions, tags, mask, scores)

    def divergence(self, emissions: Tensor, teacher: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
        """(B,) Kullback-Leibler divergence of this chain over whole sequences from the teacher's, 0 or more.

        The teacher's words, sharpened or flattened by the temperature, are made a chain by the BIO rules alone. The
        expected score under it needs its marginals and expected transitions only, so the sum over all sequences is
        exact (Wang et al. 2020, "Structure-level knowledge distillation for multilingual sequence labeling").

        Args:
            teacher: (B, T, L) probabilities or marginals of each word.
            temperature: divides the scores of both.
        """
        emissions = emissions.float() / temperature
        transitions, start, end = (part / temperature for part in self._free_scores())
        rules = self._rules()
        local = teacher.double().clamp(min=1e-12).log() / temperature
        target = forward_backward(local, mask, rules)
        marginals = target.marginals.to(emissions.dtype)
        last = mask.sum(-1).clamp(min=1) - 1
        expected = (marginals * emissions).sum((1, 2)) + (target.pairs.to(emissions.dtype) * transitions).sum((1, 2))
        expected = expected + marginals[:, 0] @ start + marginals[torch.arange(len(mask)), last] @ end
        entropy = target.log_partition - (target.marginals * local).sum((1, 2))
        partition = log_partition(emissions, mask, self.scores(temperature))
        return partition - expected - entropy.to(emissions.dtype)

    def decode(self, emissions: NDArray[np.float32]) -> NDArray[np.int64]:
        """(T,) the best label sequence that BIO allows, for (T, L) scores of one sequence."""
        return viterbi(emissions, self.scores())

    @torch.no_grad()
    def chain(self) -> Chain:
        """The scores as they are now, in numpy."""
        parts = [part.float().cpu().numpy() for part in self._free_scores()]
        size = len(parts[1])
        return Chain.of(size, (parts[0], parts[1], parts[2]) if self.trainable else None)

    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """(B, T, L) float32 probability of each label of each word, without gradient; 0 beyond the mask.

        Without trainable scores this is the softmax of each word, not renormalised by the rules. Computed where the
        emissions are: a tagger on a GPU reads its chains on the processor, one small step per word.
        """
        if not self.trainable:
            return emissions.detach().float().softmax(-1) * mask[..., None]
        return forward_backward(emissions, mask, self.scores().beside(emissions)).marginals.float()

    def _rules(self) -> Scores:
        """Zero scores under the BIO rules."""
        forbidden, first = self._tensor("forbidden"), self._tensor("forbidden_first")
        zero = torch.zeros(forbidden.shape, dtype=torch.float64, device=forbidden.device)
        steps = zero.masked_fill(forbidden, _IMPOSSIBLE)
        return Scores(steps, zero[0].masked_fill(first, _IMPOSSIBLE), zero[0])

    def _free_scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """(transitions (L, L), start (L,), end (L,)) without the rules."""
        return self._tensor("transitions"), self._tensor("start"), self._tensor("end")

    def _tensor(self, name: str) -> Tensor:
        value = getattr(self, name)
        assert isinstance(value, Tensor)
        return value
