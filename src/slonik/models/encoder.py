"""A transformers encoder with its raw tokenizer and its way of making sentence vectors.

`TorchEncoder` encodes; it neither trains nor changes its model (training and surgery work on `.model`).
A text's vector does not depend on what else is in the batch: padding is masked everywhere, and token
positions come from the stock class.

Shapes: N texts, B texts of a batch, T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray, TokenVectors
from slonik.models.describe import describe_tensors
from slonik.models.padding import pad
from slonik.models.pooling import LAYER_POOLINGS, pool, reading_part
from slonik.models.state import config_facts, state_hash, stored_tensors
from slonik.text.batching import token_budget_batches
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import TextRows, check_texts, check_vocabulary, content_ids, pad_id

LongTexts = Literal["truncate", "windows"]
# Batches of this many tokens keep a small model's activations near the CPU caches; more is slower there.
CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 65536
_BATCHES_WORTH_A_BAR = 50


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
        pad_id: id of the padding token.
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
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.sentence = sentence
        self.passport = passport or Passport(name=name)
        self.name = name
        self.source = source
        self.long_texts: LongTexts = long_texts
        self.batch_tokens = CPU_BATCH_TOKENS if self.device.type == "cpu" else GPU_BATCH_TOKENS
        self.autocast = autocast
        self.dimension = int(model.config.hidden_size)
        self.poolings: tuple[str, ...] = ("cls", "mean")
        if getattr(model, "pooler", None) is not None:
            self.poolings = ("cls", "mean", "pooler")
        check_vocabulary(tokenizer, embedding_rows(model), name)
        self.pad_id = pad_id(tokenizer, config_id=getattr(model.config, "pad_token_id", None))
        self._rows_of = TextRows(tokenizer, self.pad_id)

    def __repr__(self) -> str:
        return f"TorchEncoder({self.name!r}, {self.dimension} dimensions)"

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def max_length(self) -> int:
        """The most tokens of one text, specials included: the checkpoint's own limit or the positions there are."""
        return min(self.sentence.max_length, position_limit(self.model))

    def tokenize(
        self, texts: Sequence[str], prefix: str | None = None, max_length: int | None = None
    ) -> list[list[int]]:
        """Token ids of each text, specials included, cut at `max_length` (the last special is kept)."""
        threads = torch.get_num_threads()
        return self._rows_of.rows(self._prefixed(texts, prefix), max_length or self.max_length, threads=threads)

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

        Offsets are character offsets into the text without the prefix; a token's own leading space is not in its
        span, so `text[start:end]` is what the token stands for. Long texts are cut at max_length.
        """
        check_texts(texts)
        read = [self._rows_of.with_offsets(text, prefix, self.max_length) for text in texts]
        rows = [ids for ids, _, _ in read]
        found: list[TokenVectors | None] = [None] * len(texts)
        for batch, hidden, _, _ in self._passes(rows):
            for place, index in enumerate(batch):
                vectors = hidden[place, : len(rows[index])].float().cpu().numpy()
                found[index] = TokenVectors(vectors, *read[index][1:])
        return [vectors for vectors in found if vectors is not None]

    def encode_layers(
        self, texts: Sequence[str], poolings: Sequence[str] = ("mean",), *, prefix: str | None = ""
    ) -> dict[str, NDArray[np.float16]]:
        """Pooling ("mean", "cls", "last") -> vectors of every layer (L + 1, N, D) in half precision, from one pass.

        Works on decoders and on the encoder half of encoder-decoders too. Layer 0 is the embedding output; as in the
        stock classes, the last layer of families with a final norm is given after that norm. Nothing is normalised;
        texts are cut at the model's length.

        Raises:
            SlonikError: an unknown pooling, or a model that gives no hidden states.
        """
        for kind in poolings:
            if kind not in LAYER_POOLINGS:
                raise SlonikError(f"layers cannot be pooled by {kind!r}: use {', '.join(LAYER_POOLINGS)}")
        part, rows = reading_part(self.model), self.tokenize(texts, prefix)
        found: dict[str, NDArray[np.float16]] = {}
        batches = token_budget_batches([len(row) for row in rows], self.batch_tokens)
        with progress_bar(f"layers of {self.name}", total=len(rows)) as bar, torch.inference_mode(), self._mixed():
            for batch in batches:
                inputs = pad([rows[index] for index in batch], self.pad_id, device=self.device)
                states = part(**inputs, output_hidden_states=True).hidden_states
                if not states:
                    raise SlonikError(f"{self.name} gives no hidden states: its class does not support them")
                for kind in poolings:
                    pooled = [pool(state, inputs["attention_mask"], kind) for state in states]
                    vectors = torch.stack(pooled).cpu().numpy()
                    if kind not in found:
                        found[kind] = np.zeros((len(vectors), len(rows), vectors.shape[-1]), dtype=np.float16)
                    found[kind][:, batch] = _half(vectors)
                bar.advance(len(batch))
        return found

    def weights_hash(self) -> str:
        """sha256 over names, types, shapes and values of all weights, whatever file they came from."""
        return state_hash(self.model)

    def identity(self) -> str:
        """sha256 of everything that decides the vectors: weights, config, tokenizer, sentence settings, long texts."""
        parts: dict[str, Any] = {"weights": self.weights_hash(), "config": config_facts(self.model)}
        parts |= {"tokenizer": self.tokenizer.to_str(), "sentence": asdict(self.sentence)}
        parts |= {"long_texts": self.long_texts, "autocast": str(self.autocast), "pad_id": self.pad_id}
        return sha256_json(parts)

    def describe(self) -> dict[str, Any]:
        """Facts: parameters, bytes, shape, FLOPs, poolings, hash of the weights (see `slonik.models.describe`)."""
        facts = describe_tensors(self.model.config.to_dict(), stored_tensors(self.model))
        facts |= {"name": self.name, "dimension": self.dimension, "max_length": self.max_length}
        facts |= {"poolings": self.poolings, "pieces": self.tokenizer.get_vocab_size()}
        return facts | {"weights_hash": self.weights_hash()} | self.sentence.facts()

    def _prefixed(self, texts: Sequence[str], prefix: str | None) -> Sequence[str]:
        check_texts(texts)
        start = self.sentence.prefix(prefix)
        return [start + text for text in texts] if start else texts

    def _rows(
        self, texts: Sequence[str], prefix: str | None
    ) -> tuple[list[list[int]], NDArray[np.int64], NDArray[np.float32]]:
        """Rows of ids, the text that each row belongs to, and its share of that text."""
        contents = content_ids(self.tokenizer, self._prefixed(texts, prefix), threads=torch.get_num_threads())
        return self._rows_of.windows(contents, self.max_length, first_only=self.long_texts == "truncate")

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
        inputs = pad([rows[index] for index in batch], self.pad_id, device=self.device)
        with torch.inference_mode(), self._mixed():
            output = self.model(**inputs)
        return batch, output.last_hidden_state, inputs["attention_mask"], getattr(output, "pooler_output", None)

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)


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


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """To half precision; what does not fit (a few outlier dimensions of some models) becomes its largest number."""
    largest = float(np.finfo(np.float16).max)
    return np.clip(values, -largest, largest).astype(np.float16)
