"""`slonik.prepare`: corpora of any size to shards of tokens, by many workers; the stages, and the frame around them.

The result is the same, bit for bit, whatever the engine and the number of workers, for parts are cut by the corpus
alone and every task depends on its part or its range of hashes. Its tokens are those that `corpus.prepare_corpus`
makes of the same corpus in one process (whose Bloom filters may take one new document in a million for an old one);
its shards end where parts do.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from slonik.core.config import configure, fields_of
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.identity import HUB, code_identity
from slonik.core.progress import shown
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.data.documents import read_documents
from slonik.data.filters import guard_language
from slonik.data.readers import check_column
from slonik.data.sampling import Sample
from slonik.pretraining.corpus import CorpusSettings, tokenizer_hash
from slonik.pretraining.preparation.parts import PART_BYTES, Part, find_parts, is_remote, read_part
from slonik.pretraining.preparation.plan import Plan, Tally
from slonik.pretraining.shards import MANIFEST, joined_facts
from slonik.scaling.engines import open_engine
from slonik.scaling.engines.needs import Needs

COMMAND = "data prepare"
_RECORDS_PER_TASK = 4_000_000
"""Marks that one task compares: 24 bytes each, and as much again while they are sorted."""
_SUMMARY = "summary.json"
_DOCUMENTS_FOLDER = "documents"


@dataclass(frozen=True, kw_only=True)
class Prepared(Result):
    """A corpus that was prepared.

    Attributes:
        folder: path or URL of the result.
        documents: that stay and are not held out.
        tokens: of these; 0 where documents were written.
        held_out: documents that were set aside.
        dropped: reason -> documents left out for it.
        examples: reason -> the beginning of the first of them.
        block_seconds: processor seconds of each block in this call, over all tasks.
    """

    folder: str
    documents: int
    tokens: int
    held_out: int
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    block_seconds: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """What was made, in a line."""
        return f"{self.documents:,} documents, {self.tokens:,} tokens, {self.held_out:,} held out -> {self.folder}"


def prepare(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    tokenizer: str | Path | Tokenizer | None = None,
    engine: str = "local",
    workers: int | None = None,
    column: str | None = None,
    border: int | str | None = None,
    language: str | None = None,
    drop_other_languages: bool | None = None,
    duplicates: str | None = None,
    near_threshold: float | None = None,
    held_out_share: float | None = None,
    keep_whitespace: bool | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    work: str | Path | None = None,
    part_bytes: int = PART_BYTES,
    needs: Needs = Needs(),
    progress: bool = False,
    announce: Announce | None = None,
) -> Prepared:
    """Clean corpora, leave out duplicates, set a part aside, and tokenise the rest into shards, by many workers.

    The same call after a crash goes on; after its end it finds the result there.

    Args:
        sources: files, folders, fsspec's URLs (s3://..., hf://datasets/OWNER/NAME/...), hub:OWNER/NAME.
        out: the folder to make, or a URL.
        tokenizer: a loaded one, or the folder or name of a model; None: documents are written as Parquet, for training
            a tokenizer and for other tools.
        engine: "local" (processes of this machine), "ray" or "slurm".
        workers: tasks at once; None = one per processor.
        column: field or column with the texts. border: what ends a document of a plain text file: "line", "blank", or
            a number of lines.
        language: of the corpus; "any" = not checked. drop_other_languages: look at each document.
        duplicates: "keep", "exact" or "near". near_threshold: Jaccard similarity of near ones.
        held_out_share: share of documents that are set aside.
        keep_whitespace: indentation, runs of spaces and blank lines stay.
        set: further fields of `CorpusSettings`: "cleaning.min_characters=100", or names of fields -> values.
        work: folder or URL for what is being made, which all workers reach; None = beside `out`.
        part_bytes: text that one task reads.
        needs: what a task asks of Slurm.
        progress: show bars on standard error. announce: called with a line as stages begin, instead.

    Raises:
        SlonikError: sources that are not there, a corpus in another language, nothing left of it, tasks that failed
            (the sentence says on what, why, and where the log is), something else under `out`.
        MissingExtra: datatrove, or what an engine or filter needs, is not installed.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    at = fields_of(CorpusSettings)
    fields: dict[Any, Any] = {
        at.files: [str(source) for source in given], at.column: column, at.border: border, at.language: language,
        at.drop_other_languages: drop_other_languages, at.duplicates: duplicates, at.near_threshold: near_threshold,
        at.held_out_share: held_out_share, at.cleaning.keep_whitespace: keep_whitespace,
    }  # fmt: skip
    settings = configure(CorpusSettings, {}, fields, set)
    cut = _tokenizer(tokenizer)
    with shown(progress), open_engine(engine, workers, needs) as opened:
        job = _Job(settings, cut, str(out), str(work) if work else None, part_bytes)
        return job.run(opened, announce or (say if progress else silent))


def _tokenizer(given: str | Path | Tokenizer | None) -> Tokenizer | None:
    if given is None or isinstance(given, Tokenizer):
        return given
    from slonik.models.kinds import resolve
    from slonik.models.loading import checkpoint_tokenizer

    return checkpoint_tokenizer(resolve(str(given)))


class _Job:
    """A preparation whose settings are known."""

    def __init__(
        self, settings: CorpusSettings, tokenizer: Tokenizer | None, out: str, work: str | None, part_bytes: int
    ) -> None:
        if not settings.files:
            raise SlonikError("no corpus given: name files, folders, URLs or hub:OWNER/NAME")
        if settings.max_documents is not None:
            raise SlonikError(
                f"max_documents is {settings.max_documents}, and all documents are prepared: leave it out"
            )
        if part_bytes < 1:
            raise SlonikError(f"a part has {part_bytes} bytes: give at least 1")
        self.settings, self.tokenizer, self.out, self.work = settings, tokenizer, out, work
        self.parts = find_parts(settings.files, border=settings.border, part_bytes=part_bytes)
        self.tokenizer_json = None if tokenizer is None else tokenizer.to_str()

    def run(self, engine: Any, announce: Announce) -> Prepared:
        """Make the result, or find it there."""
        identity = {
            "corpus": sha256_json([part.key for part in self.parts]),
            "settings": self.settings.model_dump(mode="json", exclude={"files"}),
            "tokenizer": self._tokenizer_hash,
            "code": code_identity(__name__, f"{__package__}.blocks"),
        }
        if is_remote(self.out):
            return self._remote(engine, announce, identity)
        local = [name for name in self.settings.files if not name.startswith(HUB) and not is_remote(name)]
        with Run(self.out, command=COMMAND, config=self.settings, announce=announce, reads=local, resume=True) as run:
            if run.done_before(identity):
                announce(f"{self.out} is there already, made of this corpus: nothing to do")
                return self._result(json.loads((run.out / _SUMMARY).read_text(encoding="utf-8")), {})
            plan = self._plan(self.work or str(run.folder.absolute()))
            summary, seconds = self._stages(plan, engine, announce)
            with run.result() as folder:
                _collect(plan, summary, lambda name, target: _link(plan, name, folder / target), str(folder))
            _clear(plan, self.work)
            return self._result(summary, seconds)

    def _remote(self, engine: Any, announce: Announce, identity: Mapping[str, Any]) -> Prepared:
        """As with a folder of this machine, but nobody holds a lock, and the manifest comes last."""
        from slonik.pretraining.preparation.store import Store

        target, key = Store(self.out), sha256_json([COMMAND, {name: str(value) for name, value in identity.items()}])
        if target.exists(_SUMMARY):
            found = target.read_json(_SUMMARY)
            if found.get("made_from") == key:
                announce(f"{self.out} is there already, made of this corpus: nothing to do")
                return self._result(found, {})
            raise SlonikError(f"{self.out} is there already and was made from other inputs: choose another --out")
        if target.exists("") and target.folder.list_files():
            raise SlonikError(f"{self.out} is there already and is not empty: choose another --out or remove it")
        plan = self._plan(self.work or f"{self.out.rstrip('/')}.steps")
        summary, seconds = self._stages(plan, engine, announce)
        source = Store(plan.work)

        def copy(name: str, place: str) -> None:
            with source.folder.open(name, "rb") as stream, target.folder.open(place, "wb") as sink:
                shutil.copyfileobj(stream, sink, 1 << 22)

        _collect(plan, summary | {"made_from": key}, copy, self.out)
        _clear(plan, plan.work)
        return self._result(summary, seconds)

    @property
    def _tokenizer_hash(self) -> str | None:
        return None if self.tokenizer is None else tokenizer_hash(self.tokenizer)

    def _plan(self, work: str) -> Plan:
        ids = 0 if self.tokenizer is None else 1 + max(self.tokenizer.get_vocab().values(), default=0)
        code = str(code_identity(f"{__package__}.blocks"))
        return Plan(work, tuple(self.parts), self.settings, self._tokenizer_hash, ids, code)

    def _stages(self, plan: Plan, engine: Any, announce: Announce) -> tuple[dict[str, Any], dict[str, float]]:
        """Run what is not done; (the summary, seconds by block)."""
        from slonik.pretraining.preparation import blocks
        from slonik.pretraining.preparation.store import RANGES, Store
        from slonik.scaling.engines.stage import Stage, block_seconds

        _check_language(self.parts, self.settings)
        store = Store(plan.work)
        if self.tokenizer_json is not None:
            with store.folder.open(plan.tokenizer_file, "wb") as stream:
                stream.write(self.tokenizer_json.encode("utf-8"))
        seconds: dict[str, float] = {}

        def stage(name: str, title: str, pipeline: list[Any], tasks: int, label: Any) -> int:
            announce(f"{title}: {tasks:,} task{'s' if tasks > 1 else ''}")
            engine.run(Stage(name, title, pipeline, tasks, label), plan.logs(name))
            for block, taken in block_seconds(plan.logs(name)).items():
                seconds[block] = seconds.get(block, 0.0) + taken
            return tasks

        def part_name(rank: int) -> str:
            return self.parts[rank].name

        def range_name(rank: int) -> str:
            return f"range {rank + 1} of hashes"

        def ranges(records: int) -> int:
            return max(1, min(RANGES, -(-records // _RECORDS_PER_TASK)))

        several = len(self.parts)
        pipeline = [blocks.ReadPart(plan), blocks.CleanText(plan), blocks.KeepDocuments(plan)]
        stage("clean", "cleaning", pipeline, several, part_name)
        cleaned = sum(store.read_json(f"{plan.cleaned(part)}/{blocks.COUNTS}")["counts"].get("cleaned", 0)
                      for part in range(several))  # fmt: skip
        exact = near = 0
        if self.settings.duplicates != "keep":
            finder = [blocks.FindDuplicates(plan, "exact")]
            exact = stage("exact", "finding duplicates", finder, ranges(cleaned), range_name)
        if self.settings.duplicates == "near":
            from slonik.data.deduplication import bands_for

            stage("marks", "marking near duplicates", [blocks.MarkNear(plan, exact)], several, part_name)
            bands, _ = bands_for(self.settings.near_threshold)
            finder = [blocks.FindDuplicates(plan, "near")]
            near = stage("near", "finding near duplicates", finder, ranges(cleaned * bands), range_name)
        title = "writing documents" if self.tokenizer is None else "tokenising"
        stage("write", title, [blocks.WriteResult(plan, exact, near)], several, part_name)
        return _summary(plan, store), {name.removeprefix("slonik: "): taken for name, taken in seconds.items()}

    def _result(self, summary: Mapping[str, Any], seconds: dict[str, float]) -> Prepared:
        counts = summary["counts"]
        dropped = {
            name.removeprefix("dropped_"): count for name, count in counts.items() if name.startswith("dropped_")
        }
        return Prepared(
            folder=self.out, documents=counts.get("kept", 0), tokens=counts.get("tokens", 0),
            held_out=counts.get("held_out", 0), dropped=dropped, examples=dict(summary["examples"]),
            block_seconds=seconds, summary=dict(counts),
        )  # fmt: skip


def _check_language(parts: Sequence[Part], settings: CorpusSettings) -> None:
    """Look at the first documents before any work is done.

    Raises:
        SlonikError: there is none, or they are in another language; a column of plain text alone.
    """
    check_column([piece.url for part in parts for piece in part.pieces], settings.column)

    def first() -> Iterator[Any]:
        for part in parts:
            yield from read_part(part, column=settings.column, border=settings.border)

    name = settings.files[0]
    if name.startswith(HUB):
        documents = read_documents(name, column=settings.column, border=settings.border)
    else:
        documents = first()
    found = guard_language(documents, settings.language) if settings.language != "any" else documents
    if next(iter(found), None) is None:
        raise SlonikError(f"the corpus is empty: no text in {', '.join(settings.files[:3])}")


def _summary(plan: Plan, store: Any) -> dict[str, Any]:
    """Counts and examples over all parts.

    Raises:
        SlonikError: nothing was left.
    """
    from slonik.pretraining.preparation.blocks import COUNTS

    tally, content = Tally(), []
    for part in range(len(plan.parts)):
        found = store.read_json(f"{plan.cleaned(part)}/{COUNTS}")
        content.append(found["content"])
        tally.merge(found)
        tally.merge(store.read_json(f"{plan.made(part)}/{COUNTS}"))
    tally.counts.pop("cleaned", None)
    if not tally.counts.get("kept"):
        raise SlonikError("nothing was left of the corpus: every text was filtered out, or held out")
    counts = {name: tally.counts[name] for name in sorted(tally.counts)}
    examples = {name: tally.examples[name] for name in sorted(tally.examples)}
    return {"counts": counts, "examples": examples, "content": sha256_json(content)}


def _collect(plan: Plan, summary: Mapping[str, Any], take: Any, target: str) -> None:
    """Gather the shares of all parts in the result.

    Args:
        take: called with a name in the work folder and one in the result.
        target: path or URL of the result.
    """
    from slonik.pretraining.preparation.blocks import COUNTS, DOCUMENTS, HELD_OUT
    from slonik.pretraining.preparation.store import Store

    store, result = Store(plan.work), Store(target)
    held_out = Sample[tuple[str, str]](plan.settings.held_out_documents, key=lambda item: item[0])
    shards: list[list[dict[str, Any]]] = []
    for part in range(len(plan.parts)):
        shards.append(store.read_json(f"{plan.made(part)}/{COUNTS}")["shards"])
        with store.folder.open(f"{plan.made(part)}/{HELD_OUT}", "rb") as stream:
            for line in stream:
                row = json.loads(line)
                held_out.add((row["text"], row["source"]))
    rows = [json.dumps({"text": text, "source": source}, ensure_ascii=False) for text, source in held_out.items()]
    with result.folder.open(HELD_OUT, "wb") as stream:
        stream.write("".join(f"{row}\n" for row in rows).encode("utf-8"))
    if plan.tokenizer is None:
        for part in range(len(plan.parts)):
            take(f"{plan.made(part)}/{DOCUMENTS}", f"{_DOCUMENTS_FOLDER}/part_{part:05d}.parquet")
    else:
        key = plan.result_key(summary["content"])
        facts = joined_facts(key, shards, summary=summary["counts"], tokenizer=plan.tokenizer)
        names = iter(facts["shards"])
        for part, own in enumerate(shards):
            for shard in own:
                new = next(names)["name"]
                for array in ("tokens", "sentences", "documents"):
                    take(f"{plan.made(part)}/{shard['name']}/{array}.npy", f"{new}/{array}.npy")
        result.write_json(MANIFEST, facts)
    result.write_json(_SUMMARY, dict(summary))


def _link(plan: Plan, name: str, target: Path) -> None:
    """Bring a file of the work folder into the result: without a copy, where the disk can."""
    from slonik.pretraining.preparation.store import Store

    store = Store(plan.work)
    target.parent.mkdir(parents=True, exist_ok=True)
    if store.folder.is_local():
        source = store.folder.resolve_paths(name)
        try:
            os.link(source, target)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(source, target)
    else:
        store.folder.get_file(name, str(target))


def _clear(plan: Plan, work: str | None) -> None:
    """Remove what the tasks left in a work folder that the run does not clear itself."""
    from slonik.pretraining.preparation.store import Store

    if work is None:
        return
    store = Store(plan.work)
    for name in [plan.root, *(plan.cleaned(part) for part in range(len(plan.parts)))]:
        with contextlib.suppress(FileNotFoundError):
            store.folder.rm(name, recursive=True)
