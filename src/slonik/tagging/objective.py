"""What a tagger is trained on: windows with labels and a teacher's probabilities, and the loss over a batch of them.

A softmax tagger descends cross entropy per word, a CRF the negative log-likelihood of whole sequences; from a teacher
the one takes the divergence per word and the other the divergence between distributions over sequences. Gold labels
and teacher are fields of the batch: a text without gold (unlabelled) or without teacher simply lacks that term.

Sources: Hinton, Vinyals, Dean 2015 (temperature and mixture); Wang et al. 2020 (sequences).

Shapes: B inputs, W words, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.tags import Offsets, tokens_of
from slonik.models.heads.crf import LinearChainCrf, log_partition
from slonik.runtime.tagging.labels import TagLabels
from slonik.runtime.tagging.windows import Features
from slonik.train.protocols import Batch, Loss

NO_LABEL = -100
_SHARE_MARGIN, _SHARE_WEIGHT = 0.05, 10.0
_SHIFT = 0.1  # of the scores of entities, for the derivative that is their expected number
_RULED_OUT = -1e4
Example = Mapping[str, NDArray[Any]]


def labelled_examples(
    documents: Sequence[Document],
    features: Features,
    labels: TagLabels,
    teacher: Sequence[NDArray[Any]] | None = None,
    *,
    overlap: int | None = 0,
) -> list[Example]:
    """Windows of annotated documents with `tags`, and `teacher` (W, L) where it is given per document.

    Args:
        overlap: tokens that neighbouring windows share: context, of which each word has a label once. None = as many as
            when tagging.
    """
    examples: list[Example] = []
    for number, document in enumerate(documents):
        words = features.split(document.text)
        tags = known_tags(document, words, labels)
        soft = teacher[number] if teacher is not None else None
        examples += _windows(document.text, words, features, tags, soft, document.spans, overlap=overlap)
    return examples


def known_tags(document: Document, words: Sequence[Offsets], labels: TagLabels) -> NDArray[np.int64]:
    """(W,) labels of words; NO_LABEL for a word without an entity in a stretch that nobody has annotated."""
    tags = labels.encode(document.spans, words)
    for start, end in document.unknown:
        for place in tokens_of(Span(start, end, ""), words):
            if tags[place] == 0:
                tags[place] = NO_LABEL
    return tags


def unlisted_examples(
    documents: Sequence[Document],
    features: Features,
    labels: TagLabels,
    teacher: Sequence[NDArray[Any]] | None = None,
    *,
    overlap: int | None = 0,
) -> list[Example]:
    """As `labelled_examples`, for documents about which no list of names is asked."""
    examples = labelled_examples(documents, features, labels, teacher, overlap=overlap)
    return [{**one, "names": np.zeros_like(one["names"])} if "names" in one else one for one in examples]


def unlabelled_examples(
    texts: Sequence[str], features: Features, teacher: Sequence[NDArray[Any]], *, overlap: int | None = 0
) -> list[Example]:
    """Windows of texts with `teacher` (W, L) and no labels."""
    examples: list[Example] = []
    for text, soft in zip(texts, teacher, strict=True):
        words = features.split(text)
        examples += _windows(text, words, features, np.full(len(words), NO_LABEL), soft, overlap=overlap)
    return examples


def _windows(
    text: str,
    words: Sequence[Offsets],
    features: Features,
    tags: NDArray[np.int64],
    teacher: NDArray[Any] | None,
    own: Sequence[Span] | None = None,
    *,
    overlap: int | None,
) -> list[Example]:
    found: list[Example] = []
    for window in features.windows(text, words, overlap=overlap, own=own):
        owned = slice(window.first, window.stop)
        own_tags = tags[owned].astype(np.int16)
        if own_tags[0] > 0 and own_tags[0] % 2 == 0:
            own_tags[0] -= 1  # a window that begins inside an entity begins one: BIO has no I at the start
        extra = {"tags": own_tags} | ({} if teacher is None else {"teacher": np.asarray(teacher[owned])})
        found.append({**window.fields, **extra})
    return found


class TaggingObjective:
    """The loss of a tagger on batches with `tags` (B, W) and, for distillation, `teacher` (B, W, L).

    `word_mask` (B, W) says which words there are. `tags` are NO_LABEL for words of which nothing is known: throughout
    for an input without gold labels; between them where texts are annotated in part. Then the gold term is the
    likelihood of all label sequences that agree with what is known (Tsuboi et al. 2008). It would be best served by
    entities everywhere: with `entity_share` the expected share of words in entities is held near to it (Effland &
    Collins 2021: a hinge beyond .05, weight 10).

    Args:
        teacher_weight: share of the teacher's term where an input has both, 0 to 1; inputs with one of them only count
            in full.
        temperature: flattens the distributions of teacher and student alike; the term is multiplied by its square, so
            that gradients keep their size.
        smoothing: label smoothing of the gold term, for softmax taggers.
        entity_share: of texts annotated in part; None = the texts are annotated whole.
    """

    def __init__(
        self,
        *,
        teacher_weight: float = 0.0,
        temperature: float = 1.0,
        smoothing: float = 0.0,
        entity_share: float | None = None,
    ) -> None:
        self.teacher_weight = teacher_weight
        self.entity_share = entity_share
        self.temperature = temperature
        self.smoothing = smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean over the words of the batch."""
        emissions, mask = model(batch).float(), batch["word_mask"]
        chain = model.get_submodule("head.crf")
        assert isinstance(chain, LinearChainCrf)
        words = mask.sum().clamp(min=1)
        has_gold = ((batch["tags"] != NO_LABEL) & mask).any(-1)  # (B,)
        gold = torch.where(has_gold, self._gold(chain, emissions, batch["tags"], mask), 0.0)
        parts = {"gold": gold.sum().detach() / (mask.sum(-1) * has_gold).sum().clamp(min=1)}
        if "teacher" not in batch:
            total = gold.sum() / words
            if self.entity_share is not None:
                parts["share"] = self._beyond_share(chain, emissions, batch["tags"], mask)
                total = total + _SHARE_WEIGHT * parts["share"]
            return Loss(total, {name: value.detach() for name, value in parts.items()}, float(words))
        distilled = self._divergence(chain, emissions, batch["teacher"].float(), mask)
        share = torch.where(has_gold, self.teacher_weight, 1.0)
        parts["teacher"] = distilled.sum().detach() / words
        return Loss(((1 - share) * gold + share * distilled).sum() / words, parts, float(words))

    def _gold(self, chain: LinearChainCrf, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """(B,) sums over words; whatever is computed for inputs without gold labels is not used."""
        if chain.trainable:
            unknown = (tags == NO_LABEL) & mask
            if bool(unknown.any()):
                return partial_likelihood(chain, emissions, tags, mask)
            return chain.negative_log_likelihood(emissions, tags.clamp(min=0), mask)
        ignored = tags.masked_fill(~mask, NO_LABEL)
        losses = functional.cross_entropy(
            emissions.transpose(1, 2), ignored, ignore_index=NO_LABEL, label_smoothing=self.smoothing, reduction="none"
        )
        return losses.sum(-1)

    def _beyond_share(self, chain: LinearChainCrf, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """How far the share of words in entities, over inputs with unknown words, is beyond what is allowed."""
        assert self.entity_share is not None
        partly = ((tags == NO_LABEL) & mask).any(-1)
        if not bool(partly.any()):
            return emissions.new_zeros(())
        emissions, mask = emissions[partly], mask[partly]
        share = expected_entities(chain, emissions, mask).sum() / mask.sum().clamp(min=1)
        return ((share - self.entity_share).abs() - _SHARE_MARGIN).clamp(min=0)

    def _divergence(self, chain: LinearChainCrf, emissions: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """(B,) divergences from the teacher, times the square of the temperature."""
        square = self.temperature**2
        if chain.trainable:
            return chain.divergence(emissions, teacher, mask, self.temperature) * square
        student = (emissions / self.temperature).log_softmax(-1)
        wanted = (teacher.clamp(min=1e-12).log() / self.temperature).log_softmax(-1)
        divergence = (wanted.exp() * (wanted - student)).sum(-1)
        return divergence.masked_fill(~mask, 0.0).sum(-1) * square


def partial_likelihood(chain: LinearChainCrf, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """(B,) -log of the probability of all label sequences that have the known tags; NO_LABEL allows every label."""
    known = tags != NO_LABEL
    one = functional.one_hot(tags.clamp(min=0), emissions.shape[-1]).bool()
    agreeing = emissions.masked_fill(known[..., None] & ~one, _RULED_OUT)
    scores = chain.scores()
    return log_partition(emissions, mask, scores) - log_partition(agreeing, mask, scores)


def expected_entities(chain: LinearChainCrf, emissions: Tensor, mask: Tensor) -> Tensor:
    """(B,) expected number of words in entities, with a gradient.

    Of a CRF the derivative of the log partition by a shift of all entities' scores, as a central difference; of a
    softmax the sum over words.
    """
    if not chain.trainable:
        return ((1 - emissions.softmax(-1)[..., 0]) * mask).sum(-1)
    shift = torch.full_like(emissions, _SHIFT)
    shift[..., 0] = 0
    scores = chain.scores()
    above, below = (log_partition(emissions + sign * shift, mask, scores) for sign in (1, -1))
    return (above - below) / (2 * _SHIFT)
