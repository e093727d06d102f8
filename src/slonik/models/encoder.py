"""A transformers encoder with its raw tokenizer and its way of making sentence vectors.

`TorchEncoder` encodes; it neither trains nor changes its model (training and surgery work on `.model`).
A text's vector does not depend on what else is in the batch: padding is masked everywhere, and token
positions come from the stock class.

Shapes: N texts, B texts of a batch, T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray, TokenVectors
from slonik.models.checkpoint_files import TensorInfo, hash_tensors
from slonik.models.describe import describe_tensors
from slonik.models.pooling import pool
from slonik.text import tokenizing
from slonik.text.batching import token_budget_batches, windows
from slonik.text.sentence_config import SentenceConfig

LongTexts = Literal["truncate", "windows"]
# Batches of this many tokens keep a small model's activations near the CPU caches; more is slower there.
CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 65536
_BATCHES_WORTH_A_BAR = 50
STORED_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class TorchEncoder:
    """Encoder, PoolingEncoder and TokenEncoder over a transformers model.

    Attributes:
        model: the transformers model, in eval mode.
        tokenizer: the raw `tokenizers.Tokenizer`.
        sentence: pooling, normalisation, prefixes, length.
        passport: lineage and records.
        name: what the user called it.
        source: folder it was loaded from, None if made in memory.
        long_texts: "truncate" at max_length, or "windows": vectors of consecutive windows averaged by token count.
        batch_tokens: tokens of one padded batch.
        autocast: compute matrix products in this type while the weights stay as they are; None = off.
        dimension: D of the vectors.
        poolings: what `encode_poolings` can give: "pooler" only where the weights hold one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        sentence: SentenceConfig,
        passport: Passport | None = None,
        *,
        name: str = "model",
        source: Path | None = None,
        long_texts: LongTexts = "truncate",
        batch_tokens: int | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.sentence = sentence
        self.passport = passport or Passport(name=name)
        self.name = name
        self.source = source
        self.long_texts: LongTexts = long_texts
        self.batch_tokens = batch_tokens or (CPU_BATCH_TOKENS if self.device.type == "cpu" else GPU_BATCH_TOKENS)
        self.autocast = autocast
        self.dimension = int(model.config.hidden_size)
        self.poolings: tuple[str, ...] = ("cls", "mean")
        if getattr(model, "pooler", None) is not None:
            self.poolings = ("cls", "mean", "pooler")
        tokenizing.check_vocabulary(tokenizer, embedding_rows(model), name)
        self._template = tokenizing.template_of(tokenizer)
        self._pad = _pad_id(model, tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def max_length(self) -> int:
        """The most tokens of one text, specials included: the checkpoint's own limit or the positions there are."""
        return min(self.sentence.max_length, position_limit(self.model))

    def tokenize(
        self, texts: Sequence[str], prefix: str | None = None, max_length: int | None = None
    ) -> list[list[int]]:
        """Token ids of each text, specials included, cut at `max_length` (the last special is kept)."""
        if isinstance(texts, str):
            raise TypeError("texts is one string; pass a list of texts")
        room = max(1, (max_length or self.max_length) - self._template.size)
        head, tail = list(self._template.head), list(self._template.tail)
        return [[*head, *ids[:room], *tail] or [self._pad] for ids in self._content(texts, prefix)]

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Sentence vectors (N, D) as the checkpoint's configuration says; `prefix` None = its default."""
        kind = self.sentence.pooling
        vectors = self.encode_poolings(texts, [kind], prefix=prefix)[kind]
        if self.sentence.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def encode_poolings(
        self, texts: Sequence[str], poolings: Sequence[str], *, prefix: str | None = None
    ) -> dict[str, FloatArray]:
        """One (N, D) array per pooling, not normalised, from one pass over the texts.

        Raises:
            SlonikError: a pooling that the model does not have.
        """
        for kind in poolings:
            if kind not in self.poolings:
                raise SlonikError(f"{self.name} has no pooling {kind!r}: it has {', '.join(self.poolings)}")
        rows, owners, weights = self._rows(texts, prefix)
        totals = {kind: np.zeros((len(texts), self.dimension), dtype=np.float32) for kind in poolings}
        for batch, hidden, mask, pooler_output in self._passes(rows):
            for kind in poolings:
                vectors = pool(hidden, mask, kind, pooler_output).cpu().numpy()
                np.add.at(totals[kind], owners[batch], vectors * weights[batch, None])
        return totals

    def encode_tokens(self, texts: Sequence[str], *, prefix: str = "") -> list[TokenVectors]:
        """Last-layer vectors of every token, specials and prefix tokens included (marked special).

        Offsets are character offsets into the text without the prefix; a piece's own leading space is not in its
        span, so `text[start:end]` is what the piece stands for. Long texts are cut at max_length.
        """
        rows, offsets, special = self._rows_with_offsets(texts, prefix)
        found: list[TokenVectors | None] = [None] * len(texts)
        for batch, hidden, _, _ in self._passes(rows):
            for place, index in enumerate(batch):
                vectors = hidden[place, : len(rows[index])].float().cpu().numpy()
                found[index] = TokenVectors(vectors, offsets[index], special[index])
        return [vectors for vectors in found if vectors is not None]

    def encode_layers(
        self, texts: Sequence[str], poolings: Sequence[str] = ("mean",), *, prefix: str | None = ""
    ) -> dict[str, NDArray[np.float16]]:
        """Pooling ("mean", "cls", "last") -> vectors of every layer (L + 1, N, D); see `slonik.models.layers`."""
        from slonik.models.layers import layer_vectors

        return layer_vectors(self, texts, poolings, prefix=prefix)

    def weights_hash(self) -> str:
        """sha256 over names, types, shapes and values of all weights, whatever file they came from."""
        return hash_tensors(
            (name, STORED_NAMES[tensor.dtype], tuple(tensor.shape), tensor_bytes(tensor))
            for name, tensor in self.model.state_dict().items()
        )

    def tensors(self) -> dict[str, TensorInfo]:
        """Name -> stored type and shape of every weight, as `slonik.models.describe` reads them."""
        state = self.model.state_dict()
        return {name: TensorInfo(STORED_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in state.items()}

    def describe(self) -> dict[str, Any]:
        """Facts: parameters, bytes, shape, FLOPs, poolings, hash of the weights (see `slonik.models.describe`)."""
        facts = describe_tensors(self.model.config.to_dict(), self.tensors())
        facts |= {"name": self.name, "dimension": self.dimension, "max_length": self.max_length}
        facts |= {"pooling": self.sentence.pooling, "normalize": self.sentence.normalize, "poolings": self.poolings}
        facts |= {"prefixes": dict(self.sentence.prefixes), "default_prefix": self.sentence.default_prefix}
        facts |= {"pieces": self.tokenizer.get_vocab_size(), "weights_hash": self.weights_hash()}
        return facts

    def _content(self, texts: Sequence[str], prefix: str | None) -> list[list[int]]:
        start = self.sentence.prefix(prefix)
        return tokenizing.content_ids(self.tokenizer, [start + text for text in texts] if start else texts)

    def _rows(
        self, texts: Sequence[str], prefix: str | None
    ) -> tuple[list[list[int]], NDArray[np.int64], NDArray[np.float32]]:
        """Rows of ids, the text that each row belongs to, and its weight in that text's vector."""
        if self.long_texts == "truncate":
            rows = self.tokenize(texts, prefix)
            return rows, np.arange(len(rows)), np.ones(len(rows), dtype=np.float32)
        if isinstance(texts, str):
            raise TypeError("texts is one string; pass a list of texts")
        room = max(1, self.max_length - self._template.size)
        head, tail = list(self._template.head), list(self._template.tail)
        rows, owners, weights = [], [], []
        for owner, ids in enumerate(self._content(texts, prefix)):
            for start, end in windows(len(ids), room):
                rows.append([*head, *ids[start:end], *tail] or [self._pad])
                owners.append(owner)
                weights.append((end - start) / len(ids) if ids else 1.0)
        return rows, np.array(owners, dtype=np.int64), np.array(weights, dtype=np.float32)

    def _rows_with_offsets(
        self, texts: Sequence[str], prefix: str
    ) -> tuple[list[list[int]], list[NDArray[np.int64]], list[NDArray[np.bool_]]]:
        if isinstance(texts, str):
            raise TypeError("texts is one string; pass a list of texts")
        room = max(1, self.max_length - self._template.size)
        head, tail = self._template.head, self._template.tail
        rows, offsets, special = [], [], []
        for text in texts:
            encoding = self.tokenizer.encode(prefix + text, add_special_tokens=False)
            spans = [_span(text, start - len(prefix), end - len(prefix)) for start, end in encoding.offsets[:room]]
            outside = [end <= len(prefix) and bool(prefix) for _, end in encoding.offsets[:room]]
            rows.append([*head, *encoding.ids[:room], *tail] or [self._pad])
            blanks = [(0, 0)] * (1 if not rows[-1] else 0)
            all_spans = [(0, 0)] * len(head) + spans + [(0, 0)] * len(tail) + blanks
            flags = [True] * len(head) + outside + [True] * len(tail)
            missing = len(rows[-1]) - len(all_spans)  # a text without any token is one padding token
            offsets.append(np.array(all_spans + [(0, 0)] * missing, dtype=np.int64).reshape(-1, 2))
            special.append(np.array(flags + [True] * missing, dtype=np.bool_))
        return rows, offsets, special

    def _passes(self, rows: list[list[int]]) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor, Tensor | None]]:
        """Run the model over `rows`; yields (row indices, hidden (B, T, D), mask (B, T), pooler output or None)."""
        batches = token_budget_batches([len(row) for row in rows], self.batch_tokens)
        if len(batches) < _BATCHES_WORTH_A_BAR:
            yield from (self._forward(rows, batch) for batch in batches)
            return
        with progress_bar(f"encoding with {self.name}", total=len(rows)) as bar:
            for batch in batches:
                yield self._forward(rows, batch)
                bar.advance(len(batch))

    def _forward(
        self, rows: list[list[int]], batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Tensor, Tensor, Tensor | None]:
        longest = max(len(rows[index]) for index in batch)
        ids = np.full((len(batch), longest), self._pad, dtype=np.int64)
        mask = np.zeros((len(batch), longest), dtype=np.int64)
        for place, index in enumerate(batch):
            row = rows[index]
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        mask_tensor = torch.from_numpy(mask).to(self.device)
        mixed = torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)
        with torch.inference_mode(), mixed:
            output = self.model(input_ids=torch.from_numpy(ids).to(self.device), attention_mask=mask_tensor)
        return batch, output.last_hidden_state, mask_tensor, getattr(output, "pooler_output", None)


def embedding_rows(model: PreTrainedModel) -> int:
    """Rows of the word embedding table."""
    table = model.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    return int(table.shape[0])


def position_limit(model: PreTrainedModel) -> int:
    """The most tokens that the model has positions for.

    RoBERTa-like classes number positions from padding_idx + 1 and so have that many fewer; the stock class marks
    this by a padding_idx on its position table. Models with relative positions only use their nominal limit.
    """
    nominal = int(getattr(model.config, "max_position_embeddings", 0) or 0) or 1_000_000
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return nominal
    rows = int(table.weight.shape[0])
    return rows - table.padding_idx - 1 if table.padding_idx is not None else rows


def tensor_bytes(tensor: Tensor) -> list[memoryview]:
    """The values of a tensor as bytes, for hashing."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return [flat.view(torch.uint8).numpy().data] if flat.numel() else []


def _pad_id(model: PreTrainedModel, tokenizer: Tokenizer) -> int:
    """The id to pad with: the model's own, because RoBERTa-like classes count positions by it."""
    named = getattr(model.config, "pad_token_id", None)
    if named is not None:
        return int(named)
    for token in ("<pad>", "[PAD]"):
        if (found := tokenizer.token_to_id(token)) is not None:
            return int(found)
    return 0


def _span(text: str, start: int, end: int) -> tuple[int, int]:
    """A piece's span inside `text` without surrounding spaces; (0, 0) for one that lies in the prefix."""
    start, end = max(start, 0), max(end, 0)
    if end == 0:
        return 0, 0
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
