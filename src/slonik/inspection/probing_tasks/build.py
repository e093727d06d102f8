"""Build probing tasks from a stream of annotated sentences and write them as RuSentEval's files, with a manifest.

One pass, constant memory: a bounded pool of candidates per task and label. The manifest counts sizes and labels,
says how many deciding words two splits share, and why a task or a label is missing. Reading and annotating are done
elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from slonik.core.errors import SlonikError, lookup
from slonik.core.files import write_json, write_text
from slonik.core.hashing import sha256_bytes
from slonik.core.version import __version__
from slonik.data.conllu import Sentence
from slonik.inspection.probing_tasks.labels import LABELLERS, LENGTH_MATCHED, TASK_NAMES, WORD_CONTENT, content, refused
from slonik.inspection.probing_tasks.selection import (
    SPLITS,
    Item,
    Pool,
    Selection,
    capacity,
    priority,
    select,
    split_of,
)
from slonik.inspection.probing_tasks.word_content import WordContent

SUITE_FOLDER = "rusenteval"
MANIFEST = "manifest.json"
_CLASSES = {"sent_len": 6, "tree_depth": 2, "subj_gender": 3, "obj_gender": 3}


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
    sentences: Iterable[Sentence], *, size: int = 2000, tasks: Sequence[str] | None = None, seed: int = 0
) -> Built:
    """Choose at most `size` sentences for every task.

    Args:
        sentences: a stream; it is read once. tasks: names, None = all fourteen.

    Raises:
        SlonikError: an unknown task, a size that is too small, or no sentence at all.
    """
    names = [lookup(name, dict.fromkeys(TASK_NAMES, name), "probing task") for name in tasks or TASK_NAMES]
    if size < 50:
        raise SlonikError(f"a task of {size} sentences measures nothing: give --size 50 or more")
    built = Built()
    pools = {name: Pool(capacity(size, _CLASSES.get(name, 2))) for name in names if name != WORD_CONTENT}
    words = WordContent(size, seed) if WORD_CONTENT in names else None
    for sentence in sentences:
        built.read += 1
        if reason := refused(sentence):
            built.refused[reason] += 1
            continue
        rank, length = priority(seed, sentence.text), len(content(sentence))
        for name, pool in pools.items():
            if found := LABELLERS[name](sentence):
                key = found.key or sentence.text
                pool.offer(found.label, split_of(seed, key), Item(rank, found.text, key, length))
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


def write(built: Built, out: Path, *, size: int, seed: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write `out/rusenteval/<task>.txt` for every task that could be built, and `manifest.json` beside them.

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
    folder = out / SUITE_FOLDER
    content: dict[str, Any] = {"format": "RuSentEval: subset, label, sentence, separated by tabs", **facts}
    content |= {"slonik": __version__, "seed": seed, "size": size, "sentences_read": built.read}
    content["sentences_refused"] = dict(sorted(built.refused.items()))
    content["tasks"] = {name: _facts(selection) for name, selection in built.tasks.items()}
    for name, selection in built.tasks.items():
        if selection.rows:
            text = "".join(
                f"{split}\t{label}\t{item.text}\n"
                for wanted in SPLITS
                for (split, label), items in sorted(selection.rows.items())
                for item in items
                if split == wanted
            )
            write_text(folder / f"{name}.txt", text)
            content["tasks"][name]["sha256"] = sha256_bytes(text.encode("utf-8"))
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
