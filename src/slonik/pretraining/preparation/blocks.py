"""The steps of a preparation as datatrove's blocks: each calls the functions that `corpus.prepare_corpus` calls.

Per part: read, clean, keep the documents with the marks of equal ones. Per range of hashes: find the documents whose
mark an earlier one has. Where near duplicates are looked for, per part the marks of those that are no equal ones, and
per range as before. Per part: leave duplicates out, set the held-out documents aside, tokenise the rest into shards.
The first document of its kind stays, in the order of the corpus, as with one process; but no hash is mistaken here.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.data.deduplication import NearMarks, exact_mark
from slonik.data.sampling import Sample, is_held_out
from slonik.pretraining.corpus import document_cleaner
from slonik.pretraining.preparation.parts import read_part
from slonik.pretraining.preparation.plan import Plan, Tally
from slonik.pretraining.preparation.store import MARK, PLACE, RANGES, Store
from slonik.pretraining.shards import ShardWriter
from slonik.pretraining.tokens import sentence_ids

COUNTS = "counts.json"
HELD_OUT = "held_out.jsonl"
DOCUMENTS = "documents.parquet"
_DROPPED = "dropped"
_BATCH_DOCUMENTS = 64
_BAND = np.uint64(0x9E3779B97F4A7C15)
"""Times the number of a band, added to its hash: bands are compared with themselves only."""


class Block(PipelineStep):
    """A block that knows the plan."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


class ReadPart(Block):
    """Yields the documents of a part."""

    name, type = "read", "slonik"

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """See `PipelineStep.run`."""
        settings = self.plan.settings
        found = read_part(
            self.plan.parts[rank], column=settings.column, border=settings.border,
            keep_whitespace=settings.cleaning.keep_whitespace,
        )  # fmt: skip
        for number, document in enumerate(_timed(self, found)):
            yield Document(text=document.text, id=str(number), metadata={"source": document.source})


class CleanText(Block):
    """Makes documents uniform; marks those that rules or the language leave out."""

    name, type = "clean", "slonik"

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """See `PipelineStep.run`."""
        cleaner = document_cleaner(self.plan.settings)
        for document in data:
            with self.track_time():
                text, reason = cleaner.clean(document.text)
            if reason is None:
                document.text = text
            else:
                document.metadata[_DROPPED] = reason
            yield document


class KeepDocuments(Block):
    """Writes the documents that stay, their marks, and the counts of the others; nothing where that was done before."""

    name, type = "keep", "slonik"

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> None:
        """See `PipelineStep.run`."""
        store, place, tally = Store(self.plan.work), self.plan.cleaned(rank), Tally()
        if store.exists(f"{place}/{COUNTS}"):
            return
        marks, content = array("Q"), hashlib.sha256()
        compare = self.plan.settings.duplicates != "keep"
        with store.documents_to(f"{place}/{DOCUMENTS}") as writer:
            for document in data:
                tally.add("read")
                if (reason := document.metadata.get(_DROPPED)) is not None:
                    tally.drop(reason, document.text)
                    continue
                with self.track_time():
                    writer.add(document.text, document.metadata["source"])
                    content.update(f"{document.text}\0".encode("utf-8", "replace"))
                    if compare:
                        marks.append(exact_mark(document.text))
                tally.add("cleaned")
        if compare:
            numbers = np.arange(len(marks), dtype=np.uint32)
            store.write_marks(self.plan.marks("exact", rank), np.asarray(marks, dtype=np.uint64), numbers)
        store.write_json(f"{place}/{COUNTS}", tally.json() | {"content": content.hexdigest()})


class FindDuplicates(Block):
    """Of one range of hashes: the documents whose mark an earlier document of the corpus has."""

    name, type = "find duplicates", "slonik"

    def __init__(self, plan: Plan, kind: str) -> None:
        super().__init__(plan)
        self.kind = kind

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> None:
        """See `PipelineStep.run`."""
        store, parts = Store(self.plan.work), len(self.plan.parts)
        first, last = rank * RANGES // world_size, (rank + 1) * RANGES // world_size
        with self.track_time("range"):
            found = [store.marks(self.plan.marks(self.kind, part), first, last) for part in range(parts)]
            places = later_ones(found)
            store.write_places(self.plan.found(self.kind, rank), places, parts)


def later_ones(found: list[NDArray[Any]]) -> NDArray[Any]:
    """(part, document) of every record whose mark an earlier record has.

    Args:
        found: records of each part, those with one mark by document.
    """
    records = np.concatenate([*found, np.zeros(0, MARK)])
    places = np.empty(len(records), PLACE)
    places["part"] = np.repeat(np.arange(len(found), dtype=np.uint32), [len(part) for part in found])
    places["document"] = records["document"]
    order = np.argsort(records["mark"], kind="stable")
    sorted_marks = records["mark"][order]
    again = np.zeros(len(records), dtype=np.bool_)
    again[1:] = sorted_marks[1:] == sorted_marks[:-1]
    later: NDArray[Any] = places[order[again]]
    return later


class MarkNear(Block):
    """Writes the marks of near duplicates of the documents that are no equal ones."""

    name, type = "mark near", "slonik"

    def __init__(self, plan: Plan, exact_tasks: int) -> None:
        super().__init__(plan)
        self.exact_tasks = exact_tasks

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> None:
        """See `PipelineStep.run`."""
        store, marks, numbers = Store(self.plan.work), array("Q"), array("I")
        near = NearMarks(self.plan.settings.near_threshold)
        equal = _found(store, self.plan, "exact", self.exact_tasks, rank)
        for number, (text, _) in enumerate(store.documents(f"{self.plan.cleaned(rank)}/{DOCUMENTS}")):
            if number in equal:
                continue
            with self.track_time():
                marks.extend(near.of(text))
            numbers.extend([number] * near.bands)
        bands = np.arange(len(marks), dtype=np.uint64) % np.uint64(near.bands)
        salted = np.asarray(marks, dtype=np.uint64) + bands * _BAND
        store.write_marks(self.plan.marks("near", rank), salted, np.asarray(numbers, dtype=np.uint32))


class WriteResult(Block):
    """Leaves duplicates out, sets held-out documents aside, and writes a part's share of the result."""

    name, type = "write", "slonik"

    def __init__(self, plan: Plan, exact_tasks: int, near_tasks: int) -> None:
        super().__init__(plan)
        self.tasks = {"exact": exact_tasks, "near": near_tasks}

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> None:
        """See `PipelineStep.run`."""
        store, settings, tally = Store(self.plan.work), self.plan.settings, Tally()
        held_out = Sample[tuple[str, str]](settings.held_out_documents, key=lambda item: item[0])
        with self.track_time("part"), self._sink(store, rank, tally) as add:
            for text, source in self._staying(store, rank, tally):
                if is_held_out(text, settings.held_out_share):
                    tally.add("held_out")
                    held_out.add((text, source))
                else:
                    tally.add("kept")
                    add(text, source)
        rows = [json.dumps({"text": text, "source": source}, ensure_ascii=False) for text, source in held_out.items()]
        with store.folder.open(f"{self.plan.made(rank)}/{HELD_OUT}", "wb") as stream:
            stream.write("".join(f"{row}\n" for row in rows).encode("utf-8"))
        store.write_json(f"{self.plan.made(rank)}/{COUNTS}", tally.json() | {"shards": self._shards})

    def _staying(self, store: Store, rank: int, tally: Tally) -> Iterator[tuple[str, str]]:
        equal = _found(store, self.plan, "exact", self.tasks["exact"], rank)
        near = _found(store, self.plan, "near", self.tasks["near"], rank)
        for number, (text, source) in enumerate(store.documents(f"{self.plan.cleaned(rank)}/{DOCUMENTS}")):
            if number in equal:
                tally.drop("duplicate", text)
            elif number in near:
                tally.drop("near_duplicate", text)
            else:
                yield text, source

    @contextmanager
    def _sink(self, store: Store, rank: int, tally: Tally) -> Iterator[Any]:
        """What takes the documents that are trained on, as (text, source)."""
        place = self.plan.made(rank)
        self._shards: list[dict[str, Any]] = []
        if store.exists(place):  # of a task that was cut short
            store.folder.rm(place, recursive=True)
        if self.plan.tokenizer is None:
            with store.documents_to(f"{place}/{DOCUMENTS}") as documents:
                yield documents.add
            return
        with store.folder.open(self.plan.tokenizer_file, "rb") as stream:
            tokenizer = Tokenizer.from_str(stream.read().decode("utf-8"))
        with tempfile.TemporaryDirectory(prefix="slonik-shards-") as folder:
            local = Path(store.folder.resolve_paths(place)) if store.folder.is_local() else Path(folder)
            writer = ShardWriter(
                local, key=self.plan.key, vocabulary=self.plan.vocabulary, shard_tokens=self.plan.settings.shard_tokens
            )
            shards = _Tokens(writer, tokenizer)
            yield shards.add
            shards.flush()
            self._shards = writer.close()
            tally.add("tokens", writer.tokens)
            if not store.folder.is_local():
                for shard in self._shards:
                    for file in sorted((local / shard["name"]).iterdir()):
                        store.folder.put_file(str(file), f"{place}/{shard['name']}/{file.name}")


class _Tokens:
    """Tokenises documents some at a time."""

    def __init__(self, writer: ShardWriter, tokenizer: Tokenizer) -> None:
        self._writer, self._tokenizer = writer, tokenizer
        self._texts: list[str] = []
        self._done = 0

    def add(self, text: str, source: str) -> None:
        """Add a document."""
        self._texts.append(text)
        if len(self._texts) >= _BATCH_DOCUMENTS:
            self.flush()

    def flush(self) -> None:
        """Tokenise what has gathered."""
        for sentences in sentence_ids(self._tokenizer, self._texts, threads=1):
            self._done += 1
            self._writer.add(sentences, source_items=self._done)
        self._texts = []


def _found(store: Store, plan: Plan, kind: str, tasks: int, part: int) -> set[int]:
    """The duplicates of a part."""
    return store.places((plan.found(kind, task) for task in range(tasks)), part, len(plan.parts))


def _timed(block: PipelineStep, items: Iterator[Any]) -> Iterator[Any]:
    """The same items; the time that it takes to get them is the block's."""
    while True:
        with block.track_time():
            item = next(items, None)
        if item is None:
            return
        yield item
