"""What ranks the documents of a set for its queries: words, chance, vectors, rankings in files.

An encoder's documents are read, encoded and compared block by block; their vectors are kept on disk by what decides
them, so that a second call, or one after an interruption, encodes nothing twice. What puts such a ranking into a new
order is in `reranker`.

Shapes: Q queries, D dimensions, b documents of a block.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slonik.core.array_store import ArrayStore
from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.identity import code_of, file_identity
from slonik.core.paths import cache_dir
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, FloatArray, LongTexts
from slonik.data.retrieval import RetrievalSet
from slonik.evaluation.agreement import unit
from slonik.evaluation.long_texts import too_long
from slonik.evaluation.retrieval.bm25 import K1, Analyse, B, Bm25, lemmas, words
from slonik.evaluation.retrieval.ranking import Best, Ranking, read_run

RUN_ENDINGS = (".trec", ".run")
LEXICAL: dict[str, Analyse] = {"bm25": lemmas, "bm25_words": words}
"""Name of a baseline over words -> what a text's words are."""
RANDOM = "random"
COSINE = "cosine"
_DOT = ("dot", "dot_product")
BLOCK = 4096
_QUERIES_AT_A_TIME = 256
_DIGITS = 6  # equal texts get equal scores, whatever products they come from
QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names under which checkpoints keep their prefixes, as sentence-transformers looks for them."""


class Ranker(Protocol):
    """A first stage.

    Attributes:
        name: for records.
        identity: hash of what ranks; "" where there is none.
        notes: what was cut or left out up to now, in sentences.
        detail: for records: settings, and where the time of the last ranking went.
    """

    name: str
    identity: str
    notes: list[str]
    detail: dict[str, Any]

    def rank(self, task: RetrievalSet, depth: int) -> Ranking:
        """The best `depth` documents of each query."""
        ...


class ByWords:
    """BM25.

    Args:
        name: of LEXICAL.
    """

    def __init__(self, name: str) -> None:
        self.name, self.identity = name, ""
        self.notes: list[str] = []
        self.detail: dict[str, Any] = {"k1": K1, "b": B}

    def rank(self, task: RetrievalSet, depth: int) -> Ranking:
        started = time.perf_counter()
        with progress_bar(f"{self.name}: {task.name}", len(task.document_ids)) as bar:
            index = Bm25(_told(task.texts(), bar), LEXICAL[self.name])
        middle = time.perf_counter()
        found = index.search(task.queries, depth, task.order)
        self.detail |= _spent(middle - started, time.perf_counter() - middle, task)
        return found


class ByChance:
    """Documents drawn by seed: what a metric gives for nothing."""

    def __init__(self, seed: int) -> None:
        self.name, self.identity, self._seed = RANDOM, "", seed
        self.notes: list[str] = []
        self.detail: dict[str, Any] = {}

    def rank(self, task: RetrievalSet, depth: int) -> Ranking:
        count = min(depth, len(task.document_ids))
        rng = random.Random(derive_seed(self._seed, "random", task.identity))
        drawn = [rng.sample(range(len(task.document_ids)), count) for _ in task.queries]
        scores = np.tile(np.arange(count, 0, -1, dtype=np.float32), (len(drawn), 1))
        return Ranking(np.array(drawn, dtype=np.int64), scores)


class FromFiles:
    """Rankings of another system: a run file, or a folder with one for each set, SET.trec.

    Args:
        place: the file or folder.
    """

    def __init__(self, place: Path) -> None:
        self.name, self._place, self.identity = str(place), place, ""
        self.notes: list[str] = []
        self.detail: dict[str, Any] = {}

    def rank(self, task: RetrievalSet, depth: int) -> Ranking:
        path = self._place
        if path.is_dir():
            path = next((path / f"{task.name}{end}" for end in RUN_ENDINGS if (path / f"{task.name}{end}").is_file()),
                        path / f"{task.name}{RUN_ENDINGS[0]}")  # fmt: skip
        found, notes = read_run(path, task, depth)
        self.identity = file_identity(path)
        self.notes += notes
        return found


class ByVectors:
    """An encoder: the cosine of the query's and the document's vectors, or their product where its files say "dot".

    Args:
        encoder: what encodes.
        query_prefix, document_prefix: put before each; None = the prompts of these names that the checkpoint has, else
            its default.
        long_texts: what happens to documents that are longer than the encoder reads; None = its own way.
        cache: keep the documents' vectors in the user's cache folder, and take them from there.
    """

    def __init__(
        self, encoder: Encoder, query_prefix: str | None = None, document_prefix: str | None = None, *,
        long_texts: LongTexts | None = None, cache: bool = True,
    ) -> None:  # fmt: skip
        self.name, self.identity = encoder.name, encoder.identity()
        self._encoder, self._cache = encoder, cache and hasattr(encoder, "tokenizer")
        self._query = prompt_of(encoder, QUERY_PROMPTS, query_prefix)
        self._document = prompt_of(encoder, DOCUMENT_PROMPTS, document_prefix)
        self.notes: list[str] = []
        self.detail: dict[str, Any] = {"query_prefix": self._query, "document_prefix": self._document}
        similarity = getattr(getattr(encoder, "sentence", None), "similarity", None) or COSINE
        self.detail["similarity"] = "dot" if similarity in _DOT else COSINE
        if similarity not in (COSINE, *_DOT):
            self.notes.append(f"its checkpoint compares vectors by {similarity}: they are ranked by {COSINE}")
        self._options: dict[str, Any] = {}
        if long_texts is not None:
            if not hasattr(encoder, "long_texts"):
                raise SlonikError(f"{self.name} has no way with long texts to choose: leave out --long-texts")
            self._options, self.detail["long_texts"] = {"long_texts": long_texts}, long_texts
        self._policy = long_texts or str(getattr(encoder, "long_texts", "truncate"))

    def rank(self, task: RetrievalSet, depth: int) -> Ranking:
        started = time.perf_counter()
        queries = self._comparable(self._encoder.encode(task.queries, prefix=self._query, **self._options))
        self._tell_long(task, "queries", too_long(self._encoder, task.queries, self._query), len(task.queries))
        store = self._store()
        best = Best(len(queries), depth, task.order)
        long = encoded = 0
        searching = 0.0
        with progress_bar(f"{self.name}: {task.name}", len(task.document_ids)) as bar:
            for start, texts in _blocks(task.texts()):
                missing = store.missing(texts)
                self._add(store, missing)
                encoded += len(missing)
                long += too_long(self._encoder, texts, self._document)
                vectors = self._comparable(store.take("default", texts))
                if not self._cache:
                    store = self._store()  # nothing of a block is kept
                middle = time.perf_counter()
                for row in range(0, len(queries), _QUERIES_AT_A_TIME):
                    part = slice(row, min(row + _QUERIES_AT_A_TIME, len(queries)))
                    scores = np.round(queries[part] @ vectors.T, _DIGITS)
                    best.add(scores, np.arange(start, start + len(texts)), part)
                searching += time.perf_counter() - middle
                bar.advance(len(texts))
        total = len(task.document_ids)
        self._tell_long(task, "documents", long, total)
        self.detail |= _spent(time.perf_counter() - started - searching, searching, task)
        self.detail |= {"encoded": encoded, "reused": total - encoded}
        return best.ranking

    def _tell_long(self, task: RetrievalSet, what: str, count: int, total: int) -> None:
        """Note how many texts are longer than the encoder reads, and what happened to them."""
        if count:
            policy = "cut there" if self._policy == "truncate" else "averaged over windows"
            limit = getattr(self._encoder, "max_length", None)
            self.notes.append(f"{task.name}: {count} of {total} {what} are longer than {limit} tokens: {policy}")

    def _comparable(self, vectors: FloatArray) -> FloatArray:
        return unit(vectors) if self.detail["similarity"] == COSINE else vectors

    def _store(self) -> ArrayStore:
        if not self._cache:
            return ArrayStore(None, {})
        sentence: Any = getattr(self._encoder, "sentence", None)
        prefix = sentence.prefix(self._document) if hasattr(sentence, "prefix") else self._document
        identity = {"encoder": self.identity, "code": str(code_of(self._encoder)), "prefix": prefix}
        identity |= {"kind": "document", "long_texts": self._policy}
        return ArrayStore(cache_dir() / "embeddings", identity)

    def _add(self, store: ArrayStore, texts: list[str]) -> None:
        if texts:
            store.add(texts, {"default": self._encoder.encode(texts, prefix=self._document, **self._options)})


def prompt_of(encoder: Encoder, names: Sequence[str], given: str | None) -> str | None:
    """The prefix to use: what was given, or the first of these prompts that the checkpoint has; None = its default."""
    if given is not None:
        return given
    prompts = getattr(getattr(encoder, "sentence", None), "prefixes", {})
    return next((prompts[name] for name in names if name in prompts), None)


def _spent(indexing: float, searching: float, task: RetrievalSet) -> dict[str, float]:
    return {
        "index_seconds": round(indexing, 3),
        "documents_per_second": round(len(task.document_ids) / max(indexing, 1e-9), 1),
        "ms_per_query": round(1000 * searching / len(task.queries), 3),
    }


def _blocks(texts: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    start = 0
    while block := list(islice(texts, BLOCK)):
        yield start, block
        start += len(block)


def _told(texts: Iterator[str], bar: Any) -> Iterator[str]:
    for text in texts:
        yield text
        bar.advance()
