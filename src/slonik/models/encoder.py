"""A transformers encoder with its raw tokenizer and its way of making sentence vectors.

`TorchEncoder` encodes; it neither trains nor changes its model (training and surgery work on `.model`).
A text's vector does not depend on what else is in the batch: padding is masked everywhere, and token
positions come from the stock class.

Shapes: N texts, B texts of a batch, T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.core.progress import progress_bar, warn_once
from slonik.core.protocols import FloatArray, LongTexts, TokenVectors
from slonik.models.describe import describe_tensors
from slonik.models.padding import pad
from slonik.models.pipeline import Pipeline, share_pooler
from slonik.models.pooling import LAYER_POOLINGS, pool, reading_part
from slonik.models.state import config_facts, state_hash, stored_tensors
from slonik.text.batching import token_budget_batches
from slonik.text.limits import positions
from slonik.text.matryoshka import check_dimensions, leading
from slonik.text.pipeline import dimension_of, split
from slonik.text.sentence_config import SentenceConfig, checked_long_texts
from slonik.text.tokenizing import Rows, TextRows, check_texts, check_vocabulary, lower_cased, pad_id

PIPELINE = "pipeline"
"""Name of the pooling that is the checkpoint's own vector, where that is more than one pooling of token states."""
# Batches of this many tokens keep a small model's activations near the CPU caches; more is slower there.
CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 65536
_BATCHES_WORTH_A_BAR = 50


class TorchEncoder:
    """Encoder, PoolingEncoder and TokenEncoder over a transformers model.

    Attributes:
        model: the transformers model, in eval mode.
        tokenizer: the raw `tokenizers.Tokenizer`.
        sentence: the modules behind the transformer with their present weights, prefixes, length.
        pipeline: those modules, to train and to export.
        passport: lineage and records.
        name: what the user called it.
        source: folder it was loaded from, None if made in memory.
        long_texts: what happens to a text over `max_length` where a call does not say.
        batch_tokens: tokens of one padded batch.
        autocast: compute matrix products in this type while the weights stay as they are; None = off.
        hidden_size: D of token vectors.
        dimensions: how many leading ones of a sentence vector are given where a call does not say; None = all.
        dimension: of the sentence vectors that are given.
        poolings: what `encode_poolings` can give: "pooler" only where the weights hold one, "pipeline" only where the
            checkpoint's own vector is more than a pooling.
        pad_id: id of the padding token.
        cut_texts: how many texts were cut so far.
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
        long_texts: LongTexts | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = lower_cased(tokenizer) if sentence.lower_case else tokenizer
        self.passport = passport or Passport(name=name)
        self.name = name
        self.source = source
        self.long_texts: LongTexts = checked_long_texts(long_texts or sentence.long_texts)
        self.batch_tokens = CPU_BATCH_TOKENS if self.device.type == "cpu" else GPU_BATCH_TOKENS
        self.autocast = autocast
        self.hidden_size = int(model.config.hidden_size)
        self.dimensions: int | None = None
        self.cut_texts = 0
        check_vocabulary(self.tokenizer, embedding_rows(model), name)
        self.pad_id = pad_id(self.tokenizer, config_id=getattr(model.config, "pad_token_id", None))
        self.sentence = sentence

    def __repr__(self) -> str:
        return f"TorchEncoder({self.name!r}, {self.dimension} dimensions)"

    @property
    def sentence(self) -> SentenceConfig:
        """Prefixes, length and modules, with the weights as they are now."""
        if not any(True for _ in self.pipeline.parameters()):
            return self._sentence
        return replace(self._sentence, modules=self.pipeline.described(self._sentence.modules))

    @sentence.setter
    def sentence(self, sentence: SentenceConfig) -> None:
        before = getattr(self, "_sentence", None)
        wanted = (sentence.modules, sentence.truncate_dim)
        known = before is not None and (before.modules, before.truncate_dim) == wanted
        self._sentence = sentence
        self._rows_of = TextRows(self.tokenizer, self.pad_id, side=sentence.truncation_side)
        self._rows_of.check_room(self.max_length, self.name)
        if known:
            return
        self._width = sentence.dimension(self.hidden_size)
        self.pipeline = Pipeline(sentence.modules, sentence.truncate_dim).to(self.device).eval()
        self.has_own_pooler = share_pooler(self.pipeline, getattr(self.model, "pooler", None))
        self.poolings: tuple[str, ...] = ("cls", "mean")
        if getattr(self.model, "pooler", None) is not None:
            self.poolings += ("pooler",)
        if not (sentence.plain and sentence.pooling in self.poolings):
            self.poolings += (PIPELINE,)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dimension(self) -> int:
        """Dimensions of the sentence vectors that are given."""
        return self.dimensions or self._width

    @property
    def max_length(self) -> int:
        """The most tokens of one text, specials included: the checkpoint's own limit or the positions there are."""
        limit = position_limit(self.model)
        return self._sentence.max_length if limit is None else min(self._sentence.max_length, limit)

    def tokenize(
        self,
        texts: Sequence[str],
        prefix: str | None = None,
        max_length: int | None = None,
        *,
        whole: bool = False,
    ) -> list[list[int]]:
        """Token ids of each text, specials included, cut at `max_length` (the last special is kept) unless `whole`."""
        threads = torch.get_num_threads()
        length = None if whole else max_length or self.max_length
        return self._rows_of.rows(self._prefixed(texts, prefix), length, threads=threads)

    def encode(
        self,
        texts: Sequence[str],
        *,
        prefix: str | None = None,
        long_texts: LongTexts | None = None,
        dimensions: int | None = None,
    ) -> FloatArray:
        """Sentence vectors (N, D) as the checkpoint's modules make them.

        Args:
            prefix: None = the checkpoint's default, "" = none.
            long_texts: None = the encoder's own way.
            dimensions: how many leading ones, brought to length one again where whole vectors are; None = the
                encoder's own way.

        Raises:
            SlonikError: a text that is too long, where such are refused, or more dimensions than there are.
        """
        self.say_assumed()
        if dimensions is not None:
            check_dimensions(dimensions, self._width, self.name)
        return self._encode(self._rows(texts, prefix, long_texts), len(texts), dimensions)

    def encode_ids(
        self, ids: Sequence[Sequence[int]], *, long_texts: LongTexts | None = None, prompt_tokens: int = 0
    ) -> FloatArray:
        """Sentence vectors (N, D) of texts given as token ids with specials, of any length.

        Args:
            long_texts: None = the encoder's own way.
            prompt_tokens: how many first ids of each text are a prompt's, as `prompt_length` says.
        """
        self.say_assumed()
        template = self._rows_of.template
        contents = [row[len(template.head) : len(row) - len(template.tail)] for row in ids]
        way = checked_long_texts(long_texts or self.long_texts)
        rows = self._rows_of.arrange(contents, self.max_length, way, prompt=prompt_tokens)
        self.cut_texts += rows.cut
        return self._encode(rows, len(ids))

    def prompt_length(self, prefix: str | None) -> int:
        """How many first tokens of a row are a prefix's, where they are not pooled; 0 where they are."""
        return 0 if self._sentence.include_prompt else self._rows_of.prompt_length(self._sentence.prefix(prefix))

    def sentence_vectors(self, input_ids: Tensor, attention_mask: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Sentence vectors (B, dimension) of padded ids (B, T) by all modules, with gradients.

        Args:
            prompt: (B,) as `Pipeline` takes it.
        """
        output = reading_part(self.model)(input_ids=input_ids, attention_mask=attention_mask)
        vectors: Tensor = self._placed()(output.last_hidden_state, attention_mask, prompt)
        return vectors

    def say_assumed(self) -> None:
        """Warn, once, of a pooling that the checkpoint does not name."""
        if self._sentence.assumed:
            warn_once(
                f"{self.name} has no modules.json that says how a sentence vector is made; taken is "
                f"{self._sentence.assumed} (choose with --pooling, where a command has it, in Python pooling=)"
            )

    def encode_poolings(
        self, texts: Sequence[str], poolings: Sequence[str], *, prefix: str | None = None
    ) -> dict[str, FloatArray]:
        """One (N, D) array per pooling, not normalised, from one pass over the texts; "pipeline" is `encode`'s vector.

        Raises:
            SlonikError: a pooling that the model does not have.
        """
        for kind in poolings:
            if kind not in self.poolings:
                raise SlonikError(f"{self.name} has no pooling {kind!r}: it has {', '.join(self.poolings)}")
        found = self._poolings(self._rows(texts, prefix, None), len(texts), poolings)
        return {kind: self._leading(vectors, None, kind) for kind, vectors in found.items()}

    def _encode(self, rows: Rows, count: int, dimensions: int | None = None) -> FloatArray:
        return self._leading(self._poolings(rows, count, [PIPELINE])[PIPELINE], dimensions, PIPELINE)

    def _leading(self, vectors: FloatArray, dimensions: int | None, pooling: str) -> FloatArray:
        normalize = pooling == PIPELINE and self._sentence.normalize
        return leading(vectors, dimensions or self.dimensions, normalize=normalize)

    def _poolings(self, rows: Rows, count: int, poolings: Sequence[str]) -> dict[str, FloatArray]:
        """Vectors of texts, windows averaged by tokens as they come out of the pooling."""
        sizes = dict.fromkeys(poolings, self.hidden_size)
        if PIPELINE in sizes:
            sizes[PIPELINE] = self.sentence_width
        totals = {kind: np.zeros((count, size), dtype=np.float32) for kind, size in sizes.items()}
        for batch, hidden, mask, pooler_output in self._passes(rows.ids):
            for kind in poolings:
                if kind == PIPELINE:
                    with torch.inference_mode():
                        prompt = torch.from_numpy(rows.prompts[batch])
                        found = self._placed().pool(hidden, mask, prompt if prompt.any() else None)
                else:
                    found = pool(hidden, mask, kind, pooler_output)
                vectors = found.float().cpu().numpy()
                np.add.at(totals[kind], rows.owners[batch], vectors * rows.shares[batch, None])
        if PIPELINE in totals:
            with torch.inference_mode():
                made = self._placed().finish(torch.from_numpy(totals[PIPELINE]).to(self.device))
            totals[PIPELINE] = made.float().cpu().numpy()
        return totals

    def _placed(self) -> Pipeline:
        """The pipeline on the model's device, which a training loop may have changed."""
        return self.pipeline.to(self.device)

    @property
    def sentence_width(self) -> int:
        """Dimensions of a pooled vector, before the modules behind the pooling."""
        before, pooling, _ = split(self._sentence.modules)
        return dimension_of((*before, pooling), self.hidden_size)

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
        parts |= {"tokenizer": self.tokenizer.to_str(), "sentence": self.sentence.content()}
        parts |= {"long_texts": self.long_texts, "autocast": str(self.autocast), "pad_id": self.pad_id}
        return sha256_json(parts | ({} if self.dimensions is None else {"dimensions": self.dimensions}))

    def describe(self) -> dict[str, Any]:
        """Facts: parameters, bytes, shape, FLOPs, poolings, hash of the weights (see `slonik.models.describe`)."""
        facts = describe_tensors(self.model.config.to_dict(), stored_tensors(self.model))
        facts |= {"name": self.name, "dimension": self.dimension, "max_length": self.max_length}
        facts |= {"poolings": self.poolings, "pieces": self.tokenizer.get_vocab_size()}
        return facts | {"weights_hash": self.weights_hash()} | self.sentence.facts()

    def _prefixed(self, texts: Sequence[str], prefix: str | None) -> Sequence[str]:
        check_texts(texts)
        start = self._sentence.prefix(prefix)
        return [start + text for text in texts] if start else texts

    def _rows(self, texts: Sequence[str], prefix: str | None, long_texts: LongTexts | None) -> Rows:
        """Rows of ids, the text that each row belongs to, and its share of that text."""
        way = checked_long_texts(long_texts or self.long_texts)
        threads, prompt = torch.get_num_threads(), self._sentence.prefix(prefix)
        rows = self._rows_of.read(
            self._prefixed(texts, prefix), self.max_length, way, threads=threads,
            prompt="" if self._sentence.include_prompt else prompt,
        )  # fmt: skip
        self.cut_texts += rows.cut
        return rows

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
            output = reading_part(self.model)(**inputs)
        return batch, output.last_hidden_state, inputs["attention_mask"], getattr(output, "pooler_output", None)

    def _mixed(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None)


def embedding_rows(model: PreTrainedModel) -> int:
    """Rows of the word embedding table."""
    table = model.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    return int(table.shape[0])


def position_limit(model: PreTrainedModel) -> int | None:
    """The most tokens that the model has positions for; None = any number, as where they are relative.

    RoBERTa-like classes number positions from padding_idx + 1 and so have that many fewer; the stock class marks
    this by a padding_idx on its position table.
    """
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return positions(model.config.to_dict())
    rows = int(table.weight.shape[0])
    return rows - table.padding_idx - 1 if table.padding_idx is not None else rows


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """To half precision; what does not fit (a few outlier dimensions of some models) becomes its largest number."""
    largest = float(np.finfo(np.float16).max)
    return np.clip(values, -largest, largest).astype(np.float16)
