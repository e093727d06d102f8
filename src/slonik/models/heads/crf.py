"""A linear-chain CRF layer over word scores, with the BIO rules built in.

Without learnt scores it is the plain softmax tagger read under the BIO rules, so that every tagger is decoded in one
way. The layer makes no emissions; sums over sequences are in `chain`.

Shapes: B sequences, T words, L labels; a mask is True for the words of a sequence, which stand first.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.models.heads import chain
from slonik.tagging.models.bio import allowed_first, allowed_steps

_IMPOSSIBLE = float("-inf")


class LinearChainCrf(nn.Module):
    """Transition, start and end scores of a chain of BIO labels.

    Args:
        size: number of labels, numbered as in `BioLabels`.
        learnt: whether the scores are parameters (a CRF), or zeros (BIO rules alone).
    """

    def __init__(self, size: int, *, learnt: bool = True) -> None:
        super().__init__()
        self.learnt = learnt
        for name, shape in {"transitions": (size, size), "start": (size,), "end": (size,)}.items():
            if learnt:
                self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
            else:
                self.register_buffer(name, torch.zeros(shape), persistent=False)
        self.register_buffer("forbidden", torch.from_numpy(~allowed_steps(size)), persistent=False)
        self.register_buffer("forbidden_first", torch.from_numpy(~allowed_first(size)), persistent=False)

    def scores(self, temperature: float = 1.0) -> chain.Scores:
        """The scores divided by `temperature`, with -inf where BIO forbids."""
        transitions, start, end = self._free_scores()
        return chain.Scores(
            (transitions / temperature).masked_fill(self._tensor("forbidden"), _IMPOSSIBLE),
            (start / temperature).masked_fill(self._tensor("forbidden_first"), _IMPOSSIBLE),
            end / temperature,
        )

    def negative_log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """(B,) -log p(tags): 0 or more, inf for a sequence that BIO forbids."""
        scores = self.scores()
        emissions = emissions.float()
        return chain.log_partition(emissions, mask, scores) - chain.path_score(emissions, tags, mask, scores)

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
        taught = chain.forward_backward(local, mask, rules)
        marginals = taught.marginals.to(emissions.dtype)
        last = mask.sum(-1).clamp(min=1) - 1
        expected = (marginals * emissions).sum((1, 2)) + (taught.pairs.to(emissions.dtype) * transitions).sum((1, 2))
        expected = expected + marginals[:, 0] @ start + marginals[torch.arange(len(mask)), last] @ end
        entropy = taught.log_partition - (taught.marginals * local).sum((1, 2))
        partition = chain.log_partition(emissions, mask, self.scores(temperature))
        return partition - expected - entropy.to(emissions.dtype)

    def decode(self, emissions: NDArray[np.float32]) -> NDArray[np.int64]:
        """(T,) the best label sequence that BIO allows, for (T, L) scores of one sequence."""
        return chain.viterbi(emissions, self.scores())

    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """(B, T, L) float32 probability of each label of each word, without gradient; 0 beyond the mask.

        Without learnt scores this is the softmax of each word, not renormalised by the rules. Computed where the
        emissions are: a tagger on a GPU reads its chains on the processor, one small step per word.
        """
        if not self.learnt:
            return emissions.detach().float().softmax(-1) * mask[..., None]
        return chain.forward_backward(emissions, mask, self.scores().beside(emissions)).marginals.float()

    def _rules(self) -> chain.Scores:
        """Zero scores under the BIO rules."""
        forbidden, first = self._tensor("forbidden"), self._tensor("forbidden_first")
        zero = torch.zeros(forbidden.shape, dtype=torch.float64, device=forbidden.device)
        steps = zero.masked_fill(forbidden, _IMPOSSIBLE)
        return chain.Scores(steps, zero[0].masked_fill(first, _IMPOSSIBLE), zero[0])

    def _free_scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """(transitions (L, L), start (L,), end (L,)) without the rules."""
        return self._tensor("transitions"), self._tensor("start"), self._tensor("end")

    def _tensor(self, name: str) -> Tensor:
        value = getattr(self, name)
        assert isinstance(value, Tensor)
        return value
