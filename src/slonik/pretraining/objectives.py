"""What encoders and decoders are pretrained for: masked words, next sentences beside them, the next word.

Texts come with their special tokens and leave as padded or packed rows; the vocabulary head runs only where something
is asked. How masked tokens are chosen is in `slonik.train.objectives.masking`, corrupted spans are in `denoising`.
Shapes: B rows, T tokens, M masked ones, V vocabulary.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.models.padding import pad
from slonik.pretraining.packed import model_inputs, pack_rows
from slonik.text.batching import pad_arrays
from slonik.text.tokenizers.token_facts import TokenFacts
from slonik.train.objectives.asked import asked, vocabulary_loss, with_places
from slonik.train.objectives.masking import IGNORED, Unit, mask_tokens
from slonik.train.objectives.vocabulary_head import encoder_of, vocabulary_head, vocabulary_of
from slonik.train.protocols import Batch, Loss


class MaskingConfig(Config):
    """How much is masked, and how."""

    unit: Unit = "token"
    """token, word (all tokens of a word together) or span (LTG-BERT)."""
    rate: float = Field(0.15, gt=0, lt=1)
    mask_share: float = Field(0.8, ge=0, le=1)
    """Of the chosen tokens: replaced by the mask token."""
    random_share: float = Field(0.1, ge=0, le=1)
    """Replaced by a random word; the rest stays."""
    copies: int | None = Field(None, ge=1)
    """Static masking with so many masks per text; None = dynamic, a new mask each time."""

    @model_validator(mode="after")
    def _shares_fit(self) -> MaskingConfig:
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError("mask_share and random_share together exceed 1")
        return self


class MaskedLanguageModel:
    """Masked-language modelling: hide some tokens, guess them from the rest.

    Source: Devlin et al., "BERT" (2019), section 3.1; dynamic masking (a new mask each time a text is read) from Liu et
    al., "RoBERTa" (2019), section 4.1, where BERT's own way, `copies` fixed masks per text, is the static one.

    Args:
        facts: of the vocabulary.
        masking: how much, and how.
        pack_to: put several texts into rows of this many tokens that do not see one another; None pads.

    Raises:
        SlonikError: the vocabulary has no mask token.
    """

    def __init__(
        self, facts: TokenFacts, masking: MaskingConfig = MaskingConfig(), *, pack_to: int | None = None
    ) -> None:
        facts.need("mask", "masked-language modelling")
        self.facts, self.masking, self.pack_to = facts, masking, pack_to

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """Mask texts (specials included) and put them into rows.

        Returns:
            input_ids, labels (-100 where nothing is asked), attention_mask (B, T), places of the labels (M,); packed
            rows also have segments and position_ids.
        """
        if self.masking.copies is None:
            inputs, labels = self.mask(ids, rng)
        else:
            inputs, labels = self._static(ids, rng, self.masking.copies)
        if self.pack_to is not None:
            fill = {"input_ids": self.facts.pad, "labels": IGNORED}
            return with_places(pack_rows({"input_ids": inputs, "labels": labels}, fill, self.pack_to))
        return with_places(pad(inputs, self.facts.pad) | {"labels": pad(labels, IGNORED)["input_ids"]})

    def mask(
        self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """(what the model reads, labels) of each text, in one draw for all."""
        lengths = [len(text) for text in ids]
        ends = np.cumsum(lengths, dtype=np.int64)
        starts = ends - np.asarray(lengths, dtype=np.int64)
        flat = np.concatenate(ids).astype(np.int64) if len(ids) else np.zeros(0, np.int64)
        options = self.masking.model_dump(exclude={"copies"})
        masked = mask_tokens(flat, starts, self.facts, rng, **options)
        cuts = ends[:-1]
        return np.split(masked.ids, cuts), np.split(masked.labels, cuts)

    def _static(
        self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator, copies: int
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """A mask that depends on the text and the number of the copy alone; which copy is read is drawn each time."""
        inputs, labels = [], []
        for text in ids:
            content = zlib.crc32(np.ascontiguousarray(text, dtype="<i8").tobytes())
            fixed = np.random.default_rng([content, int(rng.integers(copies))])
            row, label = self.mask([text], fixed)
            inputs += row
            labels += label
        return inputs, labels

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean cross-entropy in nats over the M masked tokens; `parts` has the accuracy too."""
        hidden = encoder_of(model)(**model_inputs(model, batch))[0]
        return masked_loss(model, hidden, batch)


def masked_loss(model: nn.Module, hidden: Tensor, batch: Batch) -> Loss:
    """The loss of `MaskedLanguageModel` from hidden states (B, T, D) and the batch's labels (B, T)."""
    states, wanted = asked(hidden, batch)
    if not len(wanted):
        nothing = hidden.sum() * 0.0
        return Loss(nothing, {"mlm": nothing.detach()}, 0.0)
    entropy, accuracy = vocabulary_loss(vocabulary_head(model), states, wanted, vocabulary_of(model), accuracy=True)
    parts = {"mlm": entropy.detach()} | ({} if accuracy is None else {"accuracy": accuracy})
    return Loss(entropy, parts, float(len(wanted)))


class CausalLanguageModel:
    """Causal language modelling: guess each token from those before it.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2, 2019). Texts come with their
    own begin and end tokens; packed texts do not see one another.

    Args:
        facts: of the vocabulary.
        pack_to: put several texts into rows of this many tokens; None pads.
    """

    def __init__(self, facts: TokenFacts, *, pack_to: int | None = None) -> None:
        self.facts, self.pack_to = facts, pack_to

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """Rows of texts; `labels` (B, T) is the *next* token of the same text, -100 after its last. Draws nothing."""
        following = [np.append(text[1:], IGNORED).astype(np.int64) for text in ids]
        if self.pack_to is not None:
            fill = {"input_ids": self.facts.pad, "labels": IGNORED}
            return with_places(pack_rows({"input_ids": ids, "labels": following}, fill, self.pack_to))
        return with_places(pad(ids, self.facts.pad) | {"labels": pad(following, IGNORED)["input_ids"]})

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Mean cross-entropy in nats over all tokens but the first of each text."""
        body: Any = getattr(model, "base_model", model)
        hidden = body(**model_inputs(model, batch, causal=True))[0]
        states, wanted = asked(hidden, batch)
        if not len(wanted):  # texts of one token
            nothing = hidden.sum() * 0.0
            return Loss(nothing, {"clm": nothing.detach()}, 0.0)
        head: Any = model.get_output_embeddings()  # type: ignore[operator]
        entropy, _ = vocabulary_loss(head, states, wanted, vocabulary_of(model))
        return Loss(entropy, {"clm": entropy.detach()}, float(len(wanted)))


class NextSentencePrediction:
    """Masked words and next sentence: does the second segment follow the first? The loss is the sum of both means.

    Source: Devlin et al., "BERT" (2019), section 3.1: half of the pairs are neighbours, half take the second segment
    from another document. Pairs are made by `slonik.pretraining.sequences`; this adds the second loss. Label 0 =
    follows, 1 = does not, as in Transformers' BertForPreTraining.

    Args:
        facts: of the vocabulary; rows are `[CLS] A [SEP] B [SEP]`.
        masking: how words are masked.

    Raises:
        SlonikError: the vocabulary lacks the mask or the separator token.
    """

    def __init__(self, facts: TokenFacts, masking: MaskingConfig = MaskingConfig()) -> None:
        self._words = MaskedLanguageModel(facts, masking)
        self.facts = facts
        self._separator = facts.need("sep", "next-sentence prediction")

    def corrupt(self, ids: Sequence[NDArray[np.integer]], rng: np.random.Generator) -> Batch:
        """As `MaskedLanguageModel.corrupt`, with token_type_ids (B, T): 1 after the first separator, 0 on padding.

        The loader adds `next_sentence_label` (B,).
        """
        types = []
        for row in ids:
            separators = np.flatnonzero(np.asarray(row) == self._separator)
            first = int(separators[0]) if len(separators) else len(row)
            types.append((np.arange(len(row)) > first).astype(np.int64))
        batch = self._words.corrupt(ids, rng)
        return batch | {"token_type_ids": torch.from_numpy(pad_arrays(types))}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Cross-entropy of the masked words plus cross-entropy of the pair; `weight` counts masked tokens.

        Raises:
            SlonikError: the model has no next-sentence head (take BertForPreTraining).
        """
        head: Any = getattr(getattr(model, "cls", None), "seq_relationship", None)
        if head is None:
            raise SlonikError(f"{type(model).__name__} has no next-sentence head: use BertForPreTraining")
        output = encoder_of(model)(**model_inputs(model, batch))
        words = masked_loss(model, output[0], batch)
        scores = head(output[1]).float()  # (B, 2)
        label = batch["next_sentence_label"]
        pairs = F.cross_entropy(scores, label, ignore_index=IGNORED)
        accuracy = (scores.argmax(-1) == label).float().mean()
        parts = {"nsp": pairs.detach(), "nsp_accuracy": accuracy.detach()}
        return Loss(words.total + pairs, words.parts | parts, words.weight)
