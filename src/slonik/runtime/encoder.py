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
from typing import Any, TypeAlias, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file, sha256_json, sha256_texts
from slonik.core.progress import progress_bar, warn_once
from slonik.core.protocols import FloatArray, LongTexts, TokenVectors
from slonik.runtime.onnx_header import WEIGHTS_KEY
from slonik.runtime.session import available_threads, check_parent, choose_file, open_session, read_metadata
from slonik.runtime.threads import in_threads
from slonik.text.batching import pad_ids, token_budget_batches
from slonik.text.lines import read_json
from slonik.text.matryoshka import check_dimensions, leading
from slonik.text.pipeline import pool, split, without_prompt
from slonik.text.sentence_config import SentenceConfig, checked_long_texts
from slonik.text.tokenizing import Rows, TextRows, check_texts, load_tokenizer, lower_cased, pad_id

Places: TypeAlias = NDArray[np.int64]
T = TypeVar("T")
PIPELINE = "pipeline"
"""Name of the pooling that is the checkpoint's own vector, where that is more than one pooling of token states."""
BATCH_TOKENS = 256
_MOST_TEXTS = 512
_IN_GRAPH = ("pooling", "normalize", "modules", "truncate_dim")
_HEADS = {"logits", "start_logits", "end_logits"}
_MOST_THREADS_OF_A_TEXT = 4  # products of one text are too small to share further
_TEXTS_WORTH_A_BAR = 2000


def load(
    folder: str | Path,
    *,
    file: str | None = None,
    threads: int | None = None,
    long_texts: LongTexts | None = None,
    pooling: str | None = None,
) -> OnnxEncoder:
    """An encoder from a folder written by `slonik export` (or laid out like one).

    Args:
        folder: holds onnx/*.onnx, tokenizer.json, and the sentence-transformers files.
        file: which onnx file; None takes model_quantized.onnx, else model.onnx, else model_fp16.onnx.
        threads: threads of one call; None = all processors that this process may use.
        long_texts: "truncate" cuts a text over the model's length, "average" averages its windows by their tokens as
            they come out of the pooling, "refuse" raises; None = what the folder says, else "truncate".
        pooling: how to pool where the folder does not say, as `slonik.load` takes it.

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
    outputs = {item.name for item in session.get_outputs()}
    if (head := outputs & _HEADS) and outputs <= _HEADS:
        raise SlonikError(
            f"{path} gives {min(head)} of a head and no vectors: open {folder} with slonik.load, then predict or tag"
        )
    return OnnxEncoder(
        session,
        load_tokenizer(root),
        SentenceConfig.read(root, pooling=pooling),
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
        sentence: the modules behind the transformer, prefixes, length.
        name: what the user called it.
        source: its folder.
        file: the ONNX file in use.
        threads: threads of one call.
        long_texts: what happens to a text over `max_length` where a call does not say.
        batch_tokens: tokens of one padded batch, where texts are run together.
        hidden_size: D of token vectors.
        dimensions: how many leading ones of a sentence vector are given where a call does not say; None = all.
        dimension: of the sentence vectors that are given.
        pad_id: id of the padding token.
        cut_texts: how many texts were cut so far.
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
        long_texts: LongTexts | None = None,
    ) -> None:
        self.session = session
        self.tokenizer = lower_cased(tokenizer) if sentence.lower_case else tokenizer
        self.name = name
        self.source = source
        self.file = file
        self.threads = threads
        self.long_texts: LongTexts = checked_long_texts(long_texts or sentence.long_texts)
        self.batch_tokens = BATCH_TOKENS
        self.dimensions: int | None = None
        self.cut_texts = 0
        self.metadata = read_metadata(session)
        config = read_json(source / "config.json", optional=True)
        self.pad_id = pad_id(self.tokenizer, config_id=config.get("pad_token_id"))
        self._inputs = {item.name for item in session.get_inputs()}
        outputs = {item.name: item for item in session.get_outputs()}
        self._hidden = next(iter(outputs))
        self.hidden_size = int(outputs[self._hidden].shape[-1])
        self._width_in_graph = _width(outputs.get("sentence_embedding"))
        self.sentence = sentence
        check_parent(file, self.metadata.get("facts", {}).get("weights_hash"), source)

    def __repr__(self) -> str:
        return f"OnnxEncoder({self.name!r}, {self.dimension} dimensions)"

    @property
    def sentence(self) -> SentenceConfig:
        """The modules behind the transformer, prefixes, length."""
        return self._sentence

    @sentence.setter
    def sentence(self, sentence: SentenceConfig) -> None:
        self._sentence = sentence
        self._rows = TextRows(self.tokenizer, self.pad_id, side=sentence.truncation_side)
        self._rows.check_room(self.max_length, self.name)
        self._width = sentence.dimension(self.hidden_size)
        made = self._width_in_graph
        if made is not None and made != self._width:
            raise SlonikError(
                f"{self.file} gives vectors of {made} dimensions, the modules beside it {self._width}: they do not "
                "belong together; export the checkpoint again"
            )
        said, here = self.metadata.get("facts", {}), sentence.facts()
        odd = [name for name in _IN_GRAPH if said.get(name) != here.get(name)]
        if made is not None and "pooling" in said and odd:
            raise SlonikError(
                f"{self.file} was made for the {odd[0]} {said.get(odd[0])}, and the files beside it say "
                f"{here.get(odd[0])}: they do not belong together; export the checkpoint again"
            )

    @property
    def dimension(self) -> int:
        """Dimensions of the sentence vectors that are given."""
        return self.dimensions or self._width

    @property
    def poolings(self) -> tuple[str, ...]:
        """Poolings that can be made from the file; "pipeline" is the folder's own vector where it is more than one."""
        plain = self._sentence.plain and self._sentence.pooling in ("cls", "mean")
        return ("cls", "mean") if plain else ("cls", "mean", PIPELINE)

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
        return self._leading(self._vectors(self._read(texts, prefix, long_texts), len(texts)), dimensions, PIPELINE)

    def encode_ids(
        self, ids: Sequence[Sequence[int]], *, long_texts: LongTexts | None = None, prompt_tokens: int = 0
    ) -> FloatArray:
        """Sentence vectors (N, D) of texts given as token ids with specials, of any length.

        Args:
            long_texts: None = the encoder's own way.
            prompt_tokens: how many first ids of each text are a prompt's, as `prompt_length` says.
        """
        self.say_assumed()
        head, tail = len(self._rows.template.head), len(self._rows.template.tail)
        contents = [row[head : len(row) - tail] for row in ids]
        way = checked_long_texts(long_texts or self.long_texts)
        rows = self._rows.arrange(contents, self.max_length, way, prompt=prompt_tokens)
        self.cut_texts += rows.cut
        return self._leading(self._vectors(rows, len(ids)), None, PIPELINE)

    def prompt_length(self, prefix: str | None) -> int:
        """How many first tokens of a row are a prefix's, where they are not pooled; 0 where they are."""
        return 0 if self._sentence.include_prompt else self._rows.prompt_length(self._sentence.prefix(prefix))

    def say_assumed(self) -> None:
        """Warn, once, of a pooling that the folder does not name."""
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
            SlonikError: a pooling that the file does not give.
        """
        for kind in poolings:
            if kind not in self.poolings:
                raise SlonikError(f"{self.name} has no pooling {kind!r}: it has {', '.join(self.poolings)}")
        found = self._pooled(self._read(texts, prefix, None), len(texts), poolings)
        return {kind: self._leading(vectors, None, kind) for kind, vectors in found.items()}

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
        parts: dict[str, Any] = {
            "weights": self.weights_hash(),
            "tokenizer": self.tokenizer.to_str(),
            "pad_id": self.pad_id,
        }
        parts |= {"sentence": self.sentence.content(), "long_texts": self.long_texts}
        return sha256_json(parts | ({} if self.dimensions is None else {"dimensions": self.dimensions}))

    def _files(self) -> list[Path]:
        """The ONNX file, and those of its external data."""
        named = [self.file.parent / str(self.metadata[WEIGHTS_KEY])] if WEIGHTS_KEY in self.metadata else []
        return [self.file, *named, *sorted(self.file.parent.glob(f"{self.file.name}[._]data*"))]

    def _read(self, texts: Sequence[str], prefix: str | None, long_texts: LongTexts | None) -> Rows:
        """Rows of ids that stand for the texts."""
        check_texts(texts)
        start, way = self._sentence.prefix(prefix), checked_long_texts(long_texts or self.long_texts)
        rows = self._rows.read(
            [start + text for text in texts] if start else texts, self.max_length, way, threads=self.threads,
            prompt="" if self._sentence.include_prompt else start,
        )  # fmt: skip
        self.cut_texts += rows.cut
        return rows

    def _vectors(self, rows: Rows, count: int) -> FloatArray:
        """Sentence vectors of texts: the file's own where each text is one row and all of its tokens count."""
        if self._width_in_graph is None or len(rows.ids) != count or rows.prompts.any():
            return self._pooled(rows, count, [PIPELINE])[PIPELINE]
        vectors = np.zeros((count, self._width), dtype=np.float32)
        for batch, found in self._passes(rows.ids, ["sentence_embedding"], _first_output):
            vectors[batch] = found
        return vectors

    def _leading(self, vectors: FloatArray, dimensions: int | None, pooling: str) -> FloatArray:
        normalize = pooling == PIPELINE and self._sentence.normalize
        return leading(vectors, dimensions or self.dimensions, normalize=normalize)

    def _pooled(self, rows: Rows, count: int, poolings: Sequence[str]) -> dict[str, FloatArray]:
        """Vectors by each pooling, windows of long texts averaged by tokens as they come out of it."""
        before, own, _ = split(self._sentence.modules)

        def made(outputs: list[NDArray[Any]], mask: Places, batch: Places) -> dict[str, FloatArray]:
            found = {kind: pool(outputs[0], mask, [kind]) for kind in poolings if kind != PIPELINE}
            if PIPELINE in poolings:
                states = outputs[0].astype(np.float32, copy=False)
                for module in before:
                    states = module(states)
                counted = mask if own.include_prompt else without_prompt(mask, rows.prompts[batch])
                found[PIPELINE] = pool(states, counted, own.modes)
            return found

        totals: dict[str, FloatArray] = {}
        for batch, vectors in self._passes(rows.ids, [self._hidden], made):
            for kind, values in vectors.items():
                total = totals.setdefault(kind, np.zeros((count, values.shape[1]), dtype=np.float32))
                np.add.at(total, rows.owners[batch], values * rows.shares[batch, None])
        for kind in poolings:
            totals.setdefault(kind, np.zeros((count, self._width), dtype=np.float32))
        if PIPELINE in totals and count:
            totals[PIPELINE] = self._sentence.finish(totals[PIPELINE])
        return totals

    def _passes(
        self,
        rows: Sequence[Sequence[int]],
        names: list[str],
        take: Callable[[list[NDArray[Any]], NDArray[np.int64], NDArray[np.int64]], T],
    ) -> Iterator[tuple[NDArray[np.int64], T]]:
        """Run the session; yields row indices and take(the named outputs, mask (B, T), row indices) of each batch."""
        batches = token_budget_batches(
            [len(row) for row in rows], self.batch_tokens, max_texts=1 if self.alone else _MOST_TEXTS
        )

        def run(batch: NDArray[np.int64]) -> T:
            ids, mask = pad_ids([rows[index] for index in batch], self.pad_id)
            feed = {"input_ids": ids, "attention_mask": mask}
            if "token_type_ids" in self._inputs:
                feed["token_type_ids"] = np.zeros_like(ids)
            return take(self.session.run(names, feed), mask, batch)

        results = in_threads(run, batches, self.threads if len(batches) > self.threads else 1)
        if len(rows) < _TEXTS_WORTH_A_BAR:
            yield from zip(batches, results, strict=True)
            return
        with progress_bar(f"encoding with {self.name}", total=len(rows)) as bar:
            for batch, result in zip(batches, results, strict=True):
                yield batch, result
                bar.advance(len(batch))


def _first_output(outputs: list[NDArray[Any]], mask: NDArray[np.int64], batch: NDArray[np.int64]) -> NDArray[Any]:
    return outputs[0]


def _width(output: Any) -> int | None:
    """Dimensions of the sentence vectors that a file gives; None where it gives none, or does not say."""
    width = output.shape[-1] if output is not None else None
    return width if isinstance(width, int) else None
