"""Which texts to annotate next: those that a tagger is least sure of, with its spans as a first draft.

A text's uncertainty is the share of its words that the tagger is expected to label wrongly (1 minus the probability of
the likeliest label, summed over the words, over the words and a few more, so that no text of two words wins by one
doubt). Taggers without probabilities of words are asked for those of their spans. Texts that the tagger was trained on
and repeated ones are left out. After: Settles & Craven 2008 (least confidence); Shen et al. 2017 (by length).
"""

from __future__ import annotations

import heapq
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.files import new_file, new_folder
from slonik.core.progress import progress_bar, shown
from slonik.data.annotations.brat import write_brat
from slonik.data.annotations.document import Counts, Document, Tagger
from slonik.data.annotations.formats import as_row
from slonik.data.annotations.label_studio import task_of_document
from slonik.data.annotations.tags import tokenize
from slonik.tagging.data import read_training_texts, text_key
from slonik.tagging.models import load_tagger
from slonik.tagging.tag import Item, checked_places, read_items
from slonik.text.lines import json_line

TO = ("jsonl", "brat", "label-studio")
_MORE_WORDS = 20
_BATCH = 16


@dataclass(frozen=True)
class Suggestion:
    """A text, and how unsure the tagger is of it.

    Attributes:
        document: with the tagger's spans.
        uncertainty: expected share of its words that are labelled wrongly, 0 to 1.
    """

    document: Document
    uncertainty: float


@dataclass(frozen=True)
class Suggestions:
    """What was found among the texts.

    Attributes:
        texts: the least sure first. read: how many texts there were.
        left_out: why others are not among them, in words -> how many.
    """

    texts: tuple[Suggestion, ...]
    read: int
    left_out: Counts = field(default_factory=Counts)


def suggest(
    model: str | Path | Tagger,
    files: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    count: int,
    to: str = "jsonl",
    kind: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    on_bad: Callable[[str], None] = lambda sentence: None,
    progress: bool = False,
) -> Suggestions:
    """Find and write the `count` texts of files that a tagger is least sure of, the least sure first.

    Args:
        model: folder of a tagger, hub id, or one that is loaded.
        files: as `tag_files` takes them. kind: as there.
        out: a file (JSON Lines, or Label Studio's tasks with the spans as predictions), a folder for BRAT; None =
            standard output.
        to: "jsonl" (with the field `uncertainty`), "brat" or "label-studio".
        on_bad: called with a sentence per line that cannot be read: such lines are left out.
        progress: show it on standard error.

    Raises:
        SlonikError: no such model or file, an unknown format, a folder for BRAT that is there.
        MissingExtra: the packages of that kind of tagger are not installed.
    """
    if count < 1:
        raise SlonikError(f"--suggest is {count}: ask for one text or more")
    if to not in TO:
        raise SlonikError(f"--to is {to!r}: use {', '.join(TO)}")
    paths = checked_places(files, out, to)
    tagger = model
    if isinstance(model, str | Path):
        tagger = load_tagger(model, device=device, trust_remote_code=trust_remote_code)
    assert isinstance(tagger, Tagger)
    with shown(progress), progress_bar("tagging", total=None) as bar:
        found = least_sure(tagger, read_items(paths, sys.stdin.buffer, kind), count, on_bad=on_bad, on_text=bar.advance)
    _write(found, out, to)
    return found


def least_sure(
    tagger: Tagger, items: Iterator[Item], count: int, *,
    on_bad: Callable[[str], None] = lambda sentence: None, on_text: Callable[[int], Any] = lambda texts: None,
) -> Suggestions:  # fmt: skip
    """The `count` texts of a stream that a tagger is least sure of; memory holds these and a batch."""
    folder = getattr(tagger, "folder", None)
    known = set(read_training_texts(folder)) if folder is not None else set()
    trained, left_out, read = frozenset(known), Counts(), 0
    kept: list[tuple[float, int, Document]] = []
    waiting: list[Document] = []
    order = itertools.count()  # of equal doubts the earlier text stays

    def weigh() -> None:
        for document, unsure in zip(waiting, _uncertainty(tagger, waiting), strict=True):
            heapq.heappush(kept, (unsure, -next(order), document))
            if len(kept) > count:
                heapq.heappop(kept)
        on_text(len(waiting))
        waiting.clear()

    for item in items:
        read += 1
        if item.error is not None:
            on_bad(item.error)
            left_out["lines that could not be read"] += 1
            continue
        key = text_key(item.document.text)
        if not item.document.text.strip():
            left_out["empty texts"] += 1
        elif key in trained:
            left_out["texts that the tagger was trained on"] += 1
        elif key in known:
            left_out["repeated texts"] += 1
        else:
            known.add(key)
            waiting.append(item.document)
        if len(waiting) == _BATCH:
            weigh()
    weigh()
    texts = [Suggestion(document, unsure) for unsure, _, document in sorted(kept, key=lambda one: (-one[0], -one[1]))]
    spans = tagger.tag([one.document.text for one in texts]) if texts else []
    texts = [
        replace(one, document=replace(one.document, spans=tuple(own))) for one, own in zip(texts, spans, strict=True)
    ]
    return Suggestions(tuple(texts), read, left_out)


def _uncertainty(tagger: Tagger, documents: Sequence[Document]) -> list[float]:
    """Of each text, 0 to 1."""
    texts = [document.text for document in documents]
    if not texts:
        return []
    doubts = [0.0] * len(texts)
    words = [len(tokenize(text)) for text in texts]
    if hasattr(tagger, "marginals"):
        for scores in tagger.marginals(texts):
            if len(scores.values):
                doubts[scores.text] += float((1 - np.asarray(scores.values, dtype=np.float64).max(-1)).sum())
    else:
        for number, spans in enumerate(tagger.tag(texts)):
            doubts[number] = sum(1 - span.confidence for span in spans if span.confidence is not None)
    return [doubt / (count + _MORE_WORDS) for doubt, count in zip(doubts, words, strict=True)]


def _write(found: Suggestions, out: str | Path | None, to: str) -> None:
    if to == "brat":
        with new_folder(str(out)) as folder:
            write_brat((one.document for one in found.texts), folder, found.left_out)
        return
    if to == "label-studio":
        tasks = [
            task_of_document(one.document, predicted=True) | {"meta": {"uncertainty": round(one.uncertainty, 4)}}
            for one in found.texts
        ]
        content = json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    else:
        rows = (as_row(one.document, {"uncertainty": round(one.uncertainty, 4)}) for one in found.texts)
        content = "".join(json_line(row) + "\n" for row in rows)
    if out is None:
        sys.stdout.write(content)
        return
    with new_file(out) as path:
        path.write_text(content, encoding="utf-8")
