"""Probing tasks from treebanks, or from text annotated on the way, as RuSentEval's files with a manifest.

One pass, constant memory: a bounded pool of candidates per task and label. The manifest counts sizes and labels,
says how many deciding words two splits share, and why a task or a label is missing. What a sentence is labelled is in
`labels`, which sentences are taken in `selection`, how text is annotated in `annotator`.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_json, write_text
from slonik.core.hashing import derive_seed, sha256_bytes, sha256_file
from slonik.core.numbers import check_seed
from slonik.core.progress import shown, track
from slonik.core.run import Result, Run
from slonik.core.version import __version__
from slonik.data.conllu import Sentence, is_conllu, read_conllu
from slonik.data.readers import corpus_files, read_texts
from slonik.inspection.probing.annotator import Annotator, label_errors
from slonik.inspection.probing.labels import LABELLERS, LENGTH_MATCHED, TASK_NAMES, WORD_CONTENT, content, refused
from slonik.inspection.probing.report import built_table
from slonik.inspection.probing.selection import (
    Item,
    Pool,
    Selection,
    WordContent,
    capacity,
    priority,
    select,
)
from slonik.inspection.probing.tasks import FOLDER, MANIFEST, SPLITS, TREEBANK, WORDS
from slonik.reporting.table import Table

_FEWEST = 50  # sentences that measure anything
_CLASSES = {"sent_len": 6, "tree_depth": 2, "subj_gender": 3, "obj_gender": 3}

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True, kw_only=True)
class BuiltTasks(Result):
    """Probing tasks that were built.

    Attributes:
        folder: to be the data folder of `probing`; the files are in `rusenteval` in it.
        manifest: sources with hashes, sizes, labels, shared words, and why a task or a label is missing.
        table: the same for people.
    """

    folder: Path
    manifest: dict[str, Any]
    table: Table


def build_probing(
    sources: Paths,
    *,
    out: str | Path,
    size: int = 2000,
    tasks: Sequence[str] | None = None,
    share: float = 1.0,
    limit: int | None = None,
    gold: Paths = (),
    seed: int = 0,
    progress: bool = False,
) -> BuiltTasks:
    """Build RuSentEval's tasks: labels balanced, no deciding word in two splits, the same files from the same input.

    Args:
        sources: treebanks (.conllu), or Russian texts that slovnet annotates, in any format that `read_texts` knows.
        out: folder for `rusenteval/TASK.txt`; what was built there before is replaced, anything else is not.
        size: sentences per task, at most: 60 % tr, 20 % va, 20 % te.
        tasks: names; None = all fourteen.
        share: share of the texts to annotate, chosen by hash.
        limit: read at most this many sentences.
        gold: treebanks to estimate the annotator's label errors on.
        seed: decides which sentences are taken and which split they go to.
        progress: show it on standard error.

    Raises:
        SlonikError: an unknown task, sources that are not there or do not go together, no task that can be built, or
            a folder with files of another origin.
    """
    check_seed(seed)
    began = time.perf_counter()
    folder = Path(out) / FOLDER
    given, treebanks = _paths(sources), _paths(gold)
    _task_names(tasks, size, limit)  # a mistake is told before text is annotated
    replaced = (folder / MANIFEST).is_file()
    with shown(progress), Run(
        folder, command="data probing", seed=seed, reads=[*given, *treebanks], overwrite=replaced
    ) as run:  # fmt: skip
        sentences, facts = open_sources(given, share=share, seed=seed, gold=treebanks)
        built = build(sentences, size=size, tasks=tasks, seed=seed, limit=limit)
        with run.result() as unfinished:
            manifest = write(built, unfinished, size=size, seed=seed, facts=facts)
    seconds = time.perf_counter() - began
    return BuiltTasks(folder=Path(out), manifest=manifest, table=built_table(manifest), seconds=seconds)


def _paths(paths: Paths) -> list[Path]:
    return [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def open_sources(
    paths: Sequence[Path], *, share: float = 1.0, seed: int = 0, gold: Sequence[Path] = ()
) -> tuple[Iterator[Sentence], dict[str, Any]]:
    """A stream of annotated sentences, and what the manifest says about where they come from.

    Args:
        paths: treebanks (.conllu), or texts in any format that `read_texts` knows. share: share of the texts to
            annotate, chosen by hash. gold: treebanks to estimate the annotator's errors on; not for treebanks.

    Raises:
        SlonikError: treebanks and texts together, a missing file, a folder in place of a treebank, or a share outside
            (0, 1].
    """
    if not paths:
        raise SlonikError("give a treebank (.conllu) or a text")
    if not 0 < share <= 1:
        raise SlonikError(f"--share is {share}: give a number above 0 and at most 1")
    treebanks = [is_conllu(path) for path in paths]
    if any(treebanks) and not all(treebanks):
        raise SlonikError("treebanks and plain texts cannot be mixed in one build: gold and automatic labels differ")
    for path in [*(paths if all(treebanks) else ()), *gold]:
        if not path.is_file():
            raise SlonikError(f"there is no treebank {path}: give a file in CoNLL-U")
    files = list(paths) if all(treebanks) else corpus_files(list(paths))
    facts: dict[str, Any] = {"sources": {path.name: sha256_file(path) for path in files}}
    if all(treebanks):
        if gold:
            raise SlonikError("--gold estimates the errors of automatic annotation: it goes with plain texts")
        return read_conllu(files), facts | {"annotation": TREEBANK}
    annotator = Annotator()
    facts |= {"annotation": annotator.name, "share": share}
    if gold:
        facts["gold"] = {path.name: sha256_file(path) for path in gold}
        facts["label_errors"] = label_errors(read_conllu(list(gold)), annotator.again)
    texts = (text for text in read_texts(files) if share == 1 or derive_seed(seed, "share", text) < share * 2**63)
    return annotator.sentences(track(texts, "annotating texts")), facts


@dataclass
class Built:
    """What was built.

    Attributes:
        tasks: task -> chosen rows. read: sentences met. refused: reason -> sentences that suit no task.
    """

    tasks: dict[str, Selection] = field(default_factory=dict)
    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def build(
    sentences: Iterable[Sentence],
    *,
    size: int = 2000,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> Built:
    """Choose at most `size` sentences for every task.

    Args:
        sentences: a stream; it is read once. tasks: names, None = all fourteen. limit: sentences to read, at most.

    Raises:
        SlonikError: an unknown task, a size or a limit that is too small, or no sentence at all.
    """
    names = _task_names(tasks, size, limit)
    built = Built()
    pools = {name: Pool(capacity(size, _CLASSES.get(name, 2))) for name in names if name != WORD_CONTENT}
    words = WordContent(size) if WORD_CONTENT in names else None
    for sentence in itertools.islice(sentences, limit):
        built.read += 1
        if reason := refused(sentence):
            built.refused[reason] += 1
            continue
        rank, length = priority(seed, sentence.text), len(content(sentence))
        for name, pool in pools.items():
            if found := LABELLERS[name](sentence):
                key = found.key or sentence.text
                pool.offer(found.label, "", Item(rank, found.text, key, length))
        if words is not None:
            words.offer(sentence, rank, length)
    if not built.read:
        raise SlonikError("there is no sentence to build tasks from: give a treebank or a text")
    for name in names:
        if name == WORD_CONTENT and words is not None:
            built.tasks[name] = words.select()
        else:
            built.tasks[name] = select(pools[name], size, match_length=name in LENGTH_MATCHED)
    return built


def _task_names(tasks: Sequence[str] | None, size: int, limit: int | None) -> list[str]:
    """The tasks that are asked for, where everything that is asked for makes sense."""
    if size < _FEWEST:
        raise SlonikError(f"a task of {size} sentences measures nothing: give --size {_FEWEST} or more")
    if limit is not None and limit < 1:
        raise SlonikError(f"--limit is {limit}: give 1 or more, or leave it out")
    return [lookup(name, dict.fromkeys(TASK_NAMES, name), "probing task") for name in tasks or TASK_NAMES]


def write(built: Built, folder: Path, *, size: int, seed: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write `<task>.txt` into `folder` for every task that could be built, and `manifest.json` beside them.

    `<task>.words` holds the word that a task asks about, a line for each of its rows, for control tasks.

    Args:
        facts: what else the manifest says (sources with hashes, annotator, its errors).

    Returns:
        The manifest.

    Raises:
        SlonikError: no task could be built; the disk is full.
    """
    if not any(selection.rows for selection in built.tasks.values()):
        reasons = "; ".join(f"{name}: {selection.reason}" for name, selection in built.tasks.items())
        raise SlonikError(f"no probing task can be built of {built.read} sentences: {reasons[:600]}")
    content: dict[str, Any] = {"format": "RuSentEval: subset, label, sentence, separated by tabs", **facts}
    content |= {"slonik": __version__, "seed": seed, "size": size, "sentences_read": built.read}
    content["sentences_refused"] = dict(sorted(built.refused.items()))
    content["tasks"] = {name: _facts(selection) for name, selection in built.tasks.items()}
    for name, selection in built.tasks.items():
        if selection.rows:
            rows = [
                (split, label, item)
                for wanted in SPLITS
                for (split, label), items in sorted(selection.rows.items())
                for item in items
                if split == wanted
            ]
            text = "".join(f"{split}\t{label}\t{item.text}\n" for split, label, item in rows)
            write_text(folder / f"{name}.txt", text)
            content["tasks"][name]["sha256"] = sha256_bytes(text.encode("utf-8"))
            words = [label if name == WORD_CONTENT else item.key for _, label, item in rows]
            if words != [item.text for _, _, item in rows]:  # else the task asks about no single word
                write_text(folder / f"{name}{WORDS}", "".join(f"{word}\n" for word in words))
    write_json(folder / MANIFEST, content)
    return content


def _facts(selection: Selection) -> dict[str, Any]:
    """Sizes, labels, shared keys and lengths of one task."""
    if not selection.rows:
        return {"built": False, "reason": selection.reason}
    keys = {
        split: {i.key for (own, _), items in selection.rows.items() if own == split for i in items} for split in SPLITS
    }
    largest = Counter(item.key for items in selection.rows.values() for item in items).most_common(1)[0][1]
    total = sum(map(len, selection.rows.values()))
    facts: dict[str, Any] = {
        "built": True,
        "sentences": {s: sum(len(items) for (own, _), items in selection.rows.items() if own == s) for s in SPLITS},
        "labels": {
            split: {label: len(items) for (own, label), items in sorted(selection.rows.items()) if own == split}
            for split in SPLITS
        },
        "shared_keys": {
            "tr_va": len(keys["tr"] & keys["va"]),
            "tr_te": len(keys["tr"] & keys["te"]),
            "va_te": len(keys["va"] & keys["te"]),
        },
        "distinct_keys": len(set().union(*keys.values())),
        "largest_key_share": round(largest / total, 4),
        "mean_words": {
            label: round(mean(item.length for item in items), 1)
            for (split, label), items in sorted(selection.rows.items())
            if split == "tr"
        },
    }
    if selection.dropped:
        facts["labels_left_out"] = selection.dropped
    if selection.matched is not None:
        facts["length_matched"] = round(selection.matched, 3)
    return facts
