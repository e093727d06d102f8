"""An encoder with a head for one task: a module to train, and a classifier of texts that answers rows.

Turning rows into token fields is the business of `slonik.text`, losses are in `slonik.finetuning.objective`, files in
`task_model`.

Shapes: B examples, R inputs of one example (two texts apart, or candidates), T tokens, D dimensions, N rows, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from slonik.core.hashing import sha256_json
from slonik.core.protocols import FloatArray, LongTexts
from slonik.models.encoder import TorchEncoder
from slonik.models.heads import build_head
from slonik.models.heads.stock import StockHead
from slonik.models.modeling_slonik_task import segments_of
from slonik.models.state import state_hash
from slonik.models.task_outputs import outputs_of
from slonik.text.answers import Answer, Floats
from slonik.text.pairs import Fields, PairTokenizer, pair_template
from slonik.text.task_config import TaskConfig
from slonik.text.task_rows import TaskRow, logits_of, predict_rows

_NEVER = 1 << 20  # more specials than any row has


class TokenMasking:
    """Hides a random share of the tokens of training inputs: a small task then cannot be learned by heart.

    The regulariser of a task model that is trained for many passes on few texts; nothing is predicted at the hidden
    places. Torch's own random state decides, which the training loop keeps in its checkpoints.

    Source: Iyyer et al. 2015, section 3.1 (word dropout), with the mask token in place of nothing.

    Args:
        share: of the tokens, 0 to 1.
        mask: id of the mask token.
        special: (V,) True for ids that are never hidden; V ids.
    """

    def __init__(self, share: float, mask: int, special: Tensor) -> None:
        self.share = share
        self.mask = mask
        self.special = special

    def __call__(self, ids: Tensor) -> Tensor:
        """(..., T) ids, some of them hidden; another draw at each call."""
        hidden = torch.rand(ids.shape, device=ids.device) < self.share
        return torch.where(hidden & ~self.special.to(ids.device)[ids], self.mask, ids)


class TaskModel(nn.Module):
    """An encoder and a head; a `Classifier` where its target is "single", "multi" or "number".

    Args:
        encoder: its transformer becomes a submodule and is trained along. The pooler of a stock head is the head's.
        head: takes (hidden, batch), see `slonik.models.heads`.
        config: what the outputs mean.

    Attributes:
        masking: hides tokens of training inputs, while it is set.
        name: what records and servers call it.
        specials: how `segments_of` tells the texts of a row apart. That is done for every batch, whatever `segments` it
            has, as the exported graph and the code beside the weights do, which see token ids alone: a text that holds
            "[SEP]" is read alike by all. Span answers take the batch's own, and so do tokenizers that put nothing
            between two texts.
    """

    masking: TokenMasking | None = None

    def __init__(self, encoder: TorchEncoder, head: nn.Module, config: TaskConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.transformer = encoder.model
        self.head = head
        self.config = config
        self.name = encoder.name
        self._pairs: PairTokenizer | None = None
        self._takes_types = int(getattr(encoder.model.config, "type_vocab_size", 0) or 0) > 1
        template = pair_template(encoder.tokenizer)
        around = (*template.head, *template.middle, *template.tail, *template.single.head, *template.single.tail)
        apart = config.pairs == "separate"
        self.specials: dict[str, Any] = {
            "ids": sorted(set(around)), "first": len(template.head),
            "second": _NEVER if apart else len(template.head) + len(template.middle),
        }  # fmt: skip
        self._own_segments = config.kind == "answer" or not (template.middle or apart)

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    @property
    def needs_own_segments(self) -> bool:
        """Whether its head reads which text a token is of, and ids do not say so: nothing stands between the texts."""
        reads = self.config.kind == "pair" or bool(self.config.head.get("relations"))
        return reads and self._own_segments and not isinstance(self.head, StockHead)

    @property
    def target(self) -> str:
        return self.config.target

    @property
    def labels(self) -> tuple[str, ...]:
        return self.config.labels

    @property
    def max_length(self) -> int:
        """The most tokens of one input: what the task was trained with, within the positions that there are."""
        return min(self.config.max_length, self.encoder.max_length)

    @property
    def tokenizer(self) -> Tokenizer:
        """The raw `tokenizers.Tokenizer`."""
        return self.encoder.tokenizer

    @property
    def pairs(self) -> PairTokenizer:
        """Texts and pairs to rows of at most `max_length` tokens."""
        known = self._pairs
        if known is None or known.tokenizer is not self.tokenizer or known.max_length != self.max_length:
            known = self._pairs = PairTokenizer(self.tokenizer, self.max_length)
        return known

    @property
    def pad_id(self) -> int:
        """The id to pad with; some stock classes find a text's end by it."""
        return self.encoder.pad_id

    @property
    def ending_id(self) -> int | None:
        """The id by which a stock class of an encoder-decoder finds a text's end; None where none does."""
        config = self.transformer.config
        finds = isinstance(self.head, StockHead) and self.config.kind in ("sequence", "pair")
        return config.eos_token_id if finds and getattr(config, "is_encoder_decoder", False) else None

    def hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Last hidden states of `input_ids` (B, T) or (B, R, T): (B, T, D) or (B, R, T, D).

        A field `hidden` of that shape stands for them: states of a frozen encoder that were computed before.
        """
        if "hidden" in batch:
            return batch["hidden"]
        ids = self._masked(batch["input_ids"])
        flat = {"input_ids": ids.flatten(0, -2), "attention_mask": batch["attention_mask"].flatten(0, -2)}
        if self._takes_types and "token_type_ids" in batch:
            flat["token_type_ids"] = batch["token_type_ids"].flatten(0, -2)
        if getattr(self.head, "reads_all_layers", False):
            return torch.stack(self.transformer(**flat, output_hidden_states=True).hidden_states)
        states: Tensor = self.transformer(**flat).last_hidden_state
        return states.reshape(*ids.shape, states.shape[-1])

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Outputs of the head for a batch of fields; their shape is the head's."""
        if isinstance(self.head, StockHead) and "hidden" not in batch:
            return self.head.read(self.transformer, {**batch, "input_ids": self._masked(batch["input_ids"])})
        hidden = self.hidden(batch)
        if "segments" not in batch or not self._own_segments:
            batch = {**batch, "segments": segments_of(batch["input_ids"], batch["attention_mask"], self.specials)}
        outputs: Tensor = self.head(hidden, batch)
        return outputs

    def _masked(self, ids: Tensor) -> Tensor:
        return self.masking(ids) if self.training and self.masking is not None else ids

    def logits(self, rows: Sequence[TaskRow], *, long_texts: LongTexts | None = None) -> FloatArray:
        """Scores (N, L) of texts or pairs, of numbers (N, 1), before any softmax or sigmoid.

        Args:
            rows: texts, pairs of texts, or mappings with the task's columns (`text`, `text_pair`).
            long_texts: None = the task's own way. "average": windows' scores averaged by their tokens.

        Raises:
            SlonikError: a task whose outputs are no scores of labels, rows that it does not read, texts that are too
                long and refused.
        """
        return logits_of(rows, self.config, self.pairs, self._run, long_texts)

    def predict(self, rows: Iterable[TaskRow], *, long_texts: LongTexts | None = None) -> list[Answer]:
        """One answer per row: a label, labels, a number; of (context, candidates) one of these; of (question, context)
        a span.

        Raises:
            SlonikError: as `logits`; a tagger, which `slonik.tag` takes.
        """
        given = [rows] if isinstance(rows, str | Mapping) else rows
        return predict_rows(given, self.config, self.pairs, self._run, long_texts)

    def encode(
        self, texts: Sequence[str], *, prefix: str | None = None, long_texts: LongTexts | None = None
    ) -> FloatArray:
        """Sentence vectors (N, D) of the encoder below the head, as it is loaded without one."""
        return self.encoder.encode(texts, prefix=prefix, long_texts=long_texts)

    def _run(self, fields: Sequence[Fields]) -> list[Floats]:
        return outputs_of(self, fields, autocast=False)

    def describe(self) -> dict[str, Any]:
        """Facts: those of the encoder, the head's parameters with them, labels, hash of all weights."""
        facts = self.encoder.describe()
        extra = sum(parameter.numel() for parameter in self.head.parameters())
        facts["parameters"] = int(facts.get("parameters", 0)) + extra
        facts |= {"name": self.name, "max_length": self.max_length, "target": self.target, "labels": list(self.labels)}
        return facts | {"head": self.config.kind, "weights_hash": self.weights_hash()}

    def weights_hash(self) -> str:
        return sha256_json([self.encoder.weights_hash(), state_hash(self.head)])

    def identity(self) -> str:
        """sha256 of everything that decides the outputs: the encoder's identity, the head's weights, the task."""
        return sha256_json([self.encoder.identity(), state_hash(self.head), self.config.model_dump(mode="json")])


def new_task_model(encoder: TorchEncoder, config: TaskConfig, *, seed: int = 0) -> TaskModel:
    """A task model with a fresh head; equal for equal seeds, the caller's random state left as it was.

    A stock head with a pooler begins with that of the encoder, where it has one; the encoder then has none, as the
    class of the whole.

    Raises:
        SlonikError: unknown kind of head, or options that it does not have.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(encoder.model.config, config)
    known = getattr(encoder.model, "pooler", None)
    if isinstance(head, StockHead) and isinstance(known, nn.Module):
        if head.reading.pooler is not None:
            head.reading.pooler.load_state_dict(known.state_dict())
        encoder.model.pooler = None
    return TaskModel(encoder, head.to(encoder.device), config)
