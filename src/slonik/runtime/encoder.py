"""An exported model as an encoder: Encoder, PoolingEncoder and TokenEncoder without torch.

A text's vector does not depend on what else is in the call. Files whose activations are quantised by what they
see ("dynamic") are therefore run one text at a time: the range of a whole batch would otherwise leak from text to
text. It has its price: in batches a token would take about a quarter less time (docs/runtime.md). Files with fixed
ranges ("static") and fp32 are run in batches of 256 tokens, about where a token is cheapest. Several threads take
different batches, which uses them better than sharing out each product.

Shapes: N texts, B texts of a batch, T tokens, D dimensions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file, sha256_json, sha256_texts
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray, TokenVectors
from slonik.runtime.session import available_threads, choose_file, open_session, read_metadata
from slonik.text.batching import pad_ids, token_budget_batches
from slonik.text.lines import read_json
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import TextRows, check_texts, load_tokenizer, pad_id

T = TypeVar("T")
Item = TypeVar("Item")
LongTexts = Literal["windows", "truncate"]
BATCH_TOKENS = 256
_MOST_TEXTS = 512
_MOST_THREADS_OF_A_TEXT = 4  # products of one text are too small to share further
_TEXTS_WORTH_A_BAR = 2000


def load(
    folder: str | Path, *, file: str | None = None, threads: int | None = None, long_texts: LongTexts = "windows"
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
        load_tokenizer(root),
        SentenceConfig.read(root),
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
        pad_id: id of the padding token.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokenizer: Tokenizer,
        sentence: SentenceConfig,
        *,
        name: str,
        source: Path,
        file: Path,
        threads: int = 1,
        long_texts: LongTexts = "windows",
    ) -> None:
        self.session = session
        self.tokenizer = tokenizer
        self.sentence = sentence
        self.name = name
        self.source = source
        self.file = file
        self.threads = threads
        self.long_texts: LongTexts = long_texts
        self.batch_tokens = BATCH_TOKENS
        self.metadata = read_metadata(session)
        self.pad_id = pad_id(tokenizer, config_id=read_json(source / "config.json", optional=True).get("pad_token_id"))
        self._rows = TextRows(tokenizer, self.pad_id)
        self._inputs = {item.name for item in session.get_inputs()}
        outputs = {item.name: item for item in session.get_outputs()}
        self._hidden = next(iter(outputs))
        self._has_vectors = "sentence_embedding" in outputs
        self.dimension = int(outputs[self._hidden].shape[-1])

    def __repr__(self) -> str:
        return f"OnnxEncoder({self.name!r}, {self.dimension} dimensions)"

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
        check_texts(texts)
        rows, offsets, special = [], [], []
        for text in texts:
            ids, spans, flags = self._rows.with_offsets(text, prefix, self.max_length)
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
        check_texts(texts)
        start = self.sentence.prefix(prefix)
        length = None if whole else max_length or self.max_length
        return self._rows.rows([start + text for text in texts] if start else texts, length, threads=self.threads)

    def describe(self) -> dict[str, Any]:
        """Facts: what the exporter wrote about the model, the file, its bytes, precision and poolings."""
        facts: dict[str, Any] = dict(self.metadata.get("facts", {}))
        facts |= {"name": self.name, "dimension": self.dimension, "max_length": self.max_length}
        facts |= {"file": self.file.name, "bytes": sum(path.stat().st_size for path in self._files())}
        facts |= {"precision": self.metadata.get("precision", "unknown"), "threads": self.threads}
        facts |= {"poolings": self.poolings, "pieces": self.tokenizer.get_vocab_size()}
        return facts | self.sentence.facts()

    def weights_hash(self) -> str:
        """sha256 of the ONNX file (and of its external data)."""
        files = self._files()
        return sha256_file(files[0]) if len(files) == 1 else sha256_texts(sha256_file(path) for path in files)

    def identity(self) -> str:
        """sha256 of everything that decides the vectors: files, tokenizer, sentence settings, long texts."""
        parts = {"weights": self.weights_hash(), "tokenizer": self.tokenizer.to_str(), "pad_id": self.pad_id}
        return sha256_json({**parts, "sentence": asdict(self.sentence), "long_texts": self.long_texts})

    def _files(self) -> list[Path]:
        """The ONNX file, and those of its external data."""
        return [self.file, *sorted(self.file.parent.glob(f"{self.file.name}[._]data*"))]

    def _pooled(self, ids: Sequence[Sequence[int]], poolings: Sequence[str]) -> dict[str, FloatArray]:
        """Raw pooled vectors, windows of long texts averaged by token count."""
        head, tail = len(self._rows.template.head), len(self._rows.template.tail)
        contents = [row[head : len(row) - tail] for row in ids]
        rows, owners, shares = self._rows.windows(contents, self.max_length, first_only=self.long_texts == "truncate")
        totals = {kind: np.zeros((len(ids), self.dimension), dtype=np.float32) for kind in poolings}
        names = [self._hidden] + (["sentence_embedding"] if "pooler" in poolings else [])

        def pool(outputs: list[NDArray[Any]], mask: NDArray[np.int64]) -> dict[str, FloatArray]:
            return {kind: outputs[1] if kind == "pooler" else _pool(outputs[0], mask, kind) for kind in poolings}

        for batch, vectors in self._passes(rows, names, pool):
            for kind in poolings:
                np.add.at(totals[kind], owners[batch], vectors[kind] * shares[batch, None])
        return totals

    def _passes(
        self,
        rows: Sequence[Sequence[int]],
        names: list[str],
        take: Callable[[list[NDArray[Any]], NDArray[np.int64]], T],
    ) -> Iterator[tuple[NDArray[np.int64], T]]:
        """Run the session over `rows`; yields row indices and take(the named outputs, mask (B, T)) of each batch."""
        batches = token_budget_batches(
            [len(row) for row in rows], self.batch_tokens, max_texts=1 if self.alone else _MOST_TEXTS
        )

        def run(batch: NDArray[np.int64]) -> T:
            ids, mask = pad_ids([rows[index] for index in batch], self.pad_id)
            feed = {"input_ids": ids, "attention_mask": mask}
            if "token_type_ids" in self._inputs:
                feed["token_type_ids"] = np.zeros_like(ids)
            return take(self.session.run(names, feed), mask)

        results = _in_threads(run, batches, self.threads if len(batches) > self.threads else 1)
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


def _in_threads(run: Callable[[Item], T], items: Sequence[Item], threads: int) -> Iterator[T]:
    """`run(item)` for each item, in order, few results waiting at any time; with one thread in the caller's own."""
    if threads <= 1:
        yield from map(run, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="slonik") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(run, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
