"""An exported model as an encoder: Encoder, PoolingEncoder and TokenEncoder without torch.

A text's vector does not depend on what else is in the call. Files whose activations are quantised by what they
see ("dynamic") are therefore run one text at a time: the range of a whole batch would otherwise leak from text to
text. It has its price: in batches a token would take about a quarter less time (docs/runtime.md). Files with fixed
ranges ("static") and fp32 are run in batches of 256 tokens, about where a token is cheapest. Several threads take
different batches, which uses them better than sharing out each product.

Shapes: N texts, B texts of a batch, T tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray, TokenVectors
from slonik.runtime.buffers import Buffers
from slonik.runtime.parallel import in_threads
from slonik.runtime.sentence import SentenceSettings
from slonik.runtime.session import available_threads, choose_file, open_session, read_metadata
from slonik.text import token_ids as tokenizing
from slonik.text.batching import token_budget_batches, windows

T = TypeVar("T")
LongTexts = Literal["windows", "truncate"]
BATCH_TOKENS = 256
_MOST_TEXTS = 512
_MOST_THREADS_OF_A_TEXT = 4  # products of one text are too small to share further
_TEXTS_WORTH_A_BAR = 2000


def load(
    folder: str | Path,
    *,
    file: str | None = None,
    threads: int | None = None,
    long_texts: LongTexts = "windows",
) -> OnnxEncoder:
    """An encoder from a folder written by `slonik export` (or laid out like one).

    Args:
        folder: holds onnx/*.onnx, tokenizer.json, and the sentence-transformers files.
        file: which onnx file; None takes model_quantized.onnx, else model.onnx, else model_fp16.onnx.
        threads: threads of one call; None = all processors that this process may use.
        long_texts: "windows" averages a long text's windows by token count, "truncate" cuts it.

    Raises:
        SlonikError: no such folder or file, or a damaged one; the sentence names it.
    """
    root = Path(folder).expanduser()
    path = choose_file(root, file)
    if threads is not None and threads < 1:
        raise SlonikError(f"threads is {threads}: use 1 or more")
    count = threads or available_threads()
    session = open_session(
        path, threads=min(count, _MOST_THREADS_OF_A_TEXT)
    )  # before the tokenizer, which then reuses what reading the file freed
    return OnnxEncoder(
        session,
        tokenizing.load_tokenizer(root),
        SentenceSettings.read(root),
        name=str(folder),
        source=root,
        file=path,
        threads=count,
        long_texts=long_texts,
    )


class OnnxEncoder:
    """An onnxruntime session with its tokenizer and its way of making sentence vectors.

    Attributes:
        tokenizer: the raw `tokenizers.Tokenizer`.
        sentence: pooling, normalisation, prefixes, length.
        name: what the user called it.
        source: its folder.
        file: the ONNX file in use.
        threads: threads of one call.
        long_texts: "windows" or "truncate".
        batch_tokens: tokens of one padded batch, where texts are run together.
        dimension: D of the vectors.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokenizer: Tokenizer,
        sentence: SentenceSettings,
        *,
        name: str,
        source: Path,
        file: Path,
        threads: int = 1,
        long_texts: LongTexts = "windows",
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        self.session = session
        self.tokenizer = tokenizer
        self.sentence = sentence
        self.name = name
        self.source = source
        self.file = file
        self.threads = threads
        self.long_texts: LongTexts = long_texts
        self.batch_tokens = batch_tokens
        self.metadata = read_metadata(session)
        self._template = tokenizing.Template.of(tokenizer)
        self._pad = tokenizing.pad_id(source, tokenizer)
        self._inputs = {item.name for item in session.get_inputs()}
        outputs = {item.name: item for item in session.get_outputs()}
        self._hidden = next(iter(outputs))
        self._has_vectors = "sentence_embedding" in outputs
        self.dimension = int(outputs[self._hidden].shape[-1])
        self._buffers = Buffers(self._pad)

    @property
    def poolings(self) -> tuple[str, ...]:
        """Poolings that can be made from the file: "pooler" only where it is the exported one, not normalised."""
        if self.sentence.pooling == "pooler" and not self.sentence.normalize and self._has_vectors:
            return ("cls", "mean", "pooler")
        return ("cls", "mean")

    @property
    def max_length(self) -> int:
        """The most tokens of one text, specials included."""
        return min(self.sentence.max_length, int(self.metadata.get("max_length", self.sentence.max_length)))

    @property
    def alone(self) -> bool:
        """Whether texts are run one at a time, because this file's activations are quantised by what they see."""
        if self.metadata:
            return self.metadata.get("precision") == "dynamic"
        return any(word in self.file.name for word in ("quantized", "int8", "uint8"))

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Sentence vectors (N, D) as the checkpoint's configuration says; `prefix` None = its default."""
        return self.encode_ids(self.tokenize(texts, prefix, whole=True))

    def encode_ids(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """Sentence vectors (N, D) of texts given as token ids with specials.

        Texts over `max_length` are averaged over windows, or cut, as `long_texts` says.
        """
        pooling = self.sentence.pooling
        fits = self._has_vectors and all(len(row) <= self.max_length for row in ids)
        if fits:
            vectors = np.zeros((len(ids), self.dimension), dtype=np.float32)
            for batch, found in self._passes(ids, ["sentence_embedding"], _first_output):
                vectors[batch] = found
            return vectors
        vectors = self._pooled(ids, [pooling])[pooling]
        if self.sentence.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def encode_poolings(
        self, texts: Sequence[str], poolings: Sequence[str], *, prefix: str | None = None
    ) -> dict[str, FloatArray]:
        """One (N, D) array per pooling, not normalised, from one pass over the texts.

        Raises:
            SlonikError: a pooling that the file does not give.
        """
        for kind in poolings:
            if kind not in self.poolings:
                raise SlonikError(f"{self.name} has no pooling {kind!r}: it has {', '.join(self.poolings)}")
        return self._pooled(self.tokenize(texts, prefix, whole=True), poolings)

    def encode_tokens(self, texts: Sequence[str], *, prefix: str = "") -> list[TokenVectors]:
        """Last-layer vectors of every token, specials and prefix tokens included (marked special).

        Offsets are character offsets into the text without the prefix, leading spaces left out. Long texts are cut.
        """
        _refuse_one_string(texts)
        rows, offsets, special = [], [], []
        for text in texts:
            ids, spans, flags = self._spans(text, prefix)
            rows.append(ids)
            offsets.append(spans)
            special.append(flags)
        found: dict[int, TokenVectors] = {}
        for batch, hidden in self._passes(rows, [self._hidden], _first_output):
            for place, index in enumerate(batch):
                vectors = np.array(hidden[place, : len(rows[index])], dtype=np.float32)
                found[int(index)] = TokenVectors(vectors, offsets[index], special[index])
        return [found[index] for index in range(len(rows))]

    def tokenize(
        self, texts: Sequence[str], prefix: str | None = None, max_length: int | None = None, *, whole: bool = False
    ) -> list[list[int]]:
        """Token ids of each text, specials included, cut at `max_length` unless `whole`."""
        _refuse_one_string(texts)
        start = self.sentence.prefix(prefix)
        content = tokenizing.content_ids(
            self.tokenizer, [start + text for text in texts] if start else texts, threads=self.threads
        )
        room = None if whole else max(1, (max_length or self.max_length) - self._template.size)
        head, tail = self._template.head, self._template.tail
        return [[*head, *ids[:room], *tail] or [self._pad] for ids in content]

    def describe(self) -> dict[str, Any]:
        """Facts: what the exporter wrote about the model, the file, its bytes, precision and poolings."""
        files = [self.file, *sorted(self.file.parent.glob(f"{self.file.name}[._]data*"))]
        facts: dict[str, Any] = dict(self.metadata.get("facts", {}))
        facts |= {"name": self.name, "dimension": self.dimension, "max_length": self.max_length}
        facts |= {"file": self.file.name, "bytes": sum(path.stat().st_size for path in files)}
        facts |= {"precision": self.metadata.get("precision", "unknown"), "threads": self.threads}
        facts |= {"pooling": self.sentence.pooling, "normalize": self.sentence.normalize, "poolings": self.poolings}
        facts |= {"prefixes": dict(self.sentence.prefixes), "default_prefix": self.sentence.default_prefix}
        facts["pieces"] = self.tokenizer.get_vocab_size()
        return facts

    def weights_hash(self) -> str:
        """sha256 of the ONNX file (and of its external data)."""
        from slonik.core.hashing import sha256_file, sha256_texts

        files = [self.file, *sorted(self.file.parent.glob(f"{self.file.name}[._]data*"))]
        return sha256_file(files[0]) if len(files) == 1 else sha256_texts(sha256_file(path) for path in files)

    def _pooled(self, ids: Sequence[Sequence[int]], poolings: Sequence[str]) -> dict[str, FloatArray]:
        """Raw pooled vectors, windows of long texts averaged by token count."""
        rows, owners, shares = self._windows(ids)
        totals = {kind: np.zeros((len(ids), self.dimension), dtype=np.float32) for kind in poolings}
        names = [self._hidden] + (["sentence_embedding"] if "pooler" in poolings else [])

        def pool(outputs: list[NDArray[Any]], mask: NDArray[np.int64]) -> dict[str, FloatArray]:
            return {kind: outputs[1] if kind == "pooler" else _pool(outputs[0], mask, kind) for kind in poolings}

        for batch, vectors in self._passes(rows, names, pool):
            for kind in poolings:
                np.add.at(totals[kind], owners[batch], vectors[kind] * shares[batch, None])
        return totals

    def _windows(
        self, ids: Sequence[Sequence[int]]
    ) -> tuple[list[Sequence[int]], NDArray[np.int64], NDArray[np.float32]]:
        """Rows that fit, the text that each row belongs to, and its share of that text."""
        head, tail = self._template.head, self._template.tail
        room = max(1, self.max_length - self._template.size)
        rows: list[Sequence[int]] = []
        owners: list[int] = []
        shares: list[float] = []
        for owner, row in enumerate(ids):
            content = row[len(head) : len(row) - len(tail)]
            cuts = windows(len(content), room) if len(row) > self.max_length else []
            if not cuts:
                rows.append(row)
                owners.append(owner)
                shares.append(1.0)
                continue
            for start, end in cuts if self.long_texts == "windows" else [(0, room)]:
                rows.append([*head, *content[start:end], *tail])
                owners.append(owner)
                shares.append((end - start) / len(content) if self.long_texts == "windows" else 1.0)
        return rows, np.array(owners, dtype=np.int64), np.array(shares, dtype=np.float32)

    def _spans(self, text: str, prefix: str) -> tuple[list[int], NDArray[np.int64], NDArray[np.bool_]]:
        room = max(1, self.max_length - self._template.size)
        head, tail = self._template.head, self._template.tail
        encoding = tokenizing.encode(self.tokenizer, prefix + text)
        marks = encoding.offsets[:room]
        spans = [tokenizing.span(text, start - len(prefix), end - len(prefix)) for start, end in marks]
        outside = [bool(prefix) and end <= len(prefix) for _, end in marks]
        ids = [*head, *encoding.ids[:room], *tail] or [self._pad]
        ends = [(0, 0)] * max(len(tail), len(ids) - len(head) - len(spans))
        offsets = np.array([(0, 0)] * len(head) + spans + ends, dtype=np.int64).reshape(-1, 2)
        return ids, offsets, np.array([True] * len(head) + outside + [True] * len(ends), dtype=np.bool_)

    def _passes(
        self,
        rows: Sequence[Sequence[int]],
        names: list[str],
        take: Callable[[list[NDArray[Any]], NDArray[np.int64]], T],
    ) -> Iterator[tuple[NDArray[np.int64], T]]:
        """Run the session over `rows`; yields row indices and take(the named outputs, mask (B, T)) of each batch.

        `take` runs in the thread of the batch, while its mask is valid.
        """
        batches = token_budget_batches(
            [len(row) for row in rows], self.batch_tokens, max_texts=1 if self.alone else _MOST_TEXTS
        )

        def run(batch: NDArray[np.int64]) -> T:
            ids, mask = self._buffers.fill(rows, batch)
            feed = {"input_ids": ids, "attention_mask": mask}
            if "token_type_ids" in self._inputs:
                feed["token_type_ids"] = self._buffers.zeros(ids.shape)
            return take(self.session.run(names, feed), mask)

        results = in_threads(run, batches, self.threads if len(batches) > self.threads else 1)
        if len(rows) < _TEXTS_WORTH_A_BAR:
            yield from zip(batches, results, strict=True)
            return
        with progress_bar(f"encoding with {self.name}", total=len(rows)) as bar:
            for batch, result in zip(batches, results, strict=True):
                yield batch, result
                bar.advance(len(batch))


def _first_output(outputs: list[NDArray[Any]], mask: NDArray[np.int64]) -> NDArray[Any]:
    return outputs[0]


def _pool(hidden: NDArray[np.float32], mask: NDArray[np.int64], kind: str) -> FloatArray:
    """(B, T, D), (B, T) -> (B, D): first token, or the mean over tokens that are not padding."""
    hidden = hidden.astype(np.float32, copy=False)
    if kind == "cls":
        return hidden[:, 0]
    weights = mask.astype(np.float32)[:, None, :]
    total: FloatArray = np.matmul(weights, hidden)[:, 0]
    return total / np.maximum(weights.sum(axis=-1), 1.0)


def _refuse_one_string(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise TypeError("texts is one string; pass a list of texts")
