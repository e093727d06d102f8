"""Published NER collections as frozen literals: where they are from, how their labels are read, what others reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from slonik.core.errors import SlonikError
from slonik.core.paths import data_dir as data_folder
from slonik.core.records import Record
from slonik.data.annotations.document import LabelMapping
from slonik.data.fetch import fetch_command

SUITE = "ner"
PROTOCOL = "exact spans, 1"


@dataclass(frozen=True)
class PublishedRow:
    """Metrics of one system as published, fractions.

    Attributes:
        model: its name there.
        micro, macro: exact-span F1; None where not published.
        per_label: label -> F1.
    """

    model: str
    micro: float | None
    macro: float | None
    per_label: Mapping[str, float]


@dataclass(frozen=True)
class NerTask:
    """A collection with its protocol.

    Attributes:
        id: the task of its records, and its folder below the data folder.
        source: where it comes from. licence: as stated there.
        mapping: labels merged and dropped, as in the papers.
        published: rows for tables. caution: what must be said beside them.
        nested: its entities lie within one another.
        splits: folders of its official split, of which the first is scored where none is named; none = one folder.
        called: what it is, for sentences.
    """

    id: str
    source: str
    licence: str
    mapping: LabelMapping
    published: tuple[PublishedRow, ...] = ()
    caution: str = ""
    nested: bool = False
    splits: tuple[str, ...] = ()
    called: str = "the collection"


_LABELS = ("DEVICE", "EVENT", "HACKER", "LOC", "ORG", "PER", "PROGRAM", "TECH", "VIRUS")


def _row(model: str, micro: float, macro: float | None, *per_label: float) -> PublishedRow:
    labels = {label: round(value / 100, 4) for label, value in zip(_LABELS, per_label, strict=False)}
    macro_share = None if macro is None else round(macro / 100, 4)
    return PublishedRow(model, round(micro / 100, 4), macro_share, MappingProxyType(labels))


SECCOLL = NerTask(
    id="seccoll",
    source="https://github.com/LAIR-RCC/InfSecurityRussianNLP",
    licence="none stated",
    mapping=LabelMapping(merge={"HACKER_GROUP": "HACKER"}, drop=("ARTEFACT", "MEDIA")),
    published=(
        _row("CRF", 63.95, 53.59, 31.78, 42.70, 26.58, 82.30, 68.15, 67.10, 62.15, 60.65, 40.90),
        _row("multilingual BERT", 69.37, 61.63, 34.04, 60.38, 42.69, 90.00, 76.10, 80.99, 63.15, 67.08, 40.21),
        _row("RuBERT", 71.79, 66.77, 42.96, 66.19, 58.89, 91.09, 79.27, 83.85, 65.45, 67.34, 45.94),
        _row("RuCyBERT", 75.21, 72.34, 53.52, 68.82, 68.43, 91.10, 80.87, 86.38, 68.31, 71.21, 61.39),
        _row("BiLSTM", 64.19, 52.19),
        _row("BiLSTM, distilled", 70.79, 60.04),
        _row("BiLSTM-CRF", 68.07, 61.24),
        _row("BiLSTM-CRF, distilled", 70.18, 64.00),
    ),
    called="the security collection",
    caution="published rows used all 855 texts and folds that were never published: they compare in size only",
)

NEREL = NerTask(
    id="nerel",
    source="https://github.com/nerel-ds/NEREL",
    licence="texts CC BY 2.5; none stated for the annotations",
    mapping=LabelMapping(),
    published=(
        PublishedRow("Biaffine, fastText", 0.7962, None, MappingProxyType({})),
        PublishedRow("Pyramid, RuBERT", 0.7973, None, MappingProxyType({})),
        PublishedRow("SpERT, RuBERT", 0.8252, None, MappingProxyType({})),
        PublishedRow("MRC, RuBERT", 0.8499, None, MappingProxyType({})),
    ),
    caution="published rows are of the test part",
    nested=True,
    splits=("test", "dev", "train"),
    called="NEREL",
)

TASKS: dict[str, NerTask] = {SECCOLL.id: SECCOLL, NEREL.id: NEREL}


def task_folder(task: NerTask, data_dir: str | Path | None, split: str | None = None) -> Path:
    """Where a collection, or a part of its official split, lies.

    Args:
        data_dir: the data folder; None = $SLONIK_DATA, or the user's cache folder.
        split: a part; None = the first of `task.splits`.

    Raises:
        SlonikError: it is not there, or it has no such part.
    """
    if split is not None and split not in task.splits:
        has = f"has {', '.join(task.splits)}" if task.splits else "is one folder"
        raise SlonikError(f"{task.called} has no part {split!r}: it {has}")
    folder = data_folder(Path(data_dir) if data_dir is not None else None) / task.id
    if not folder.is_dir():
        raise SlonikError(
            f"there is no {folder}: `{fetch_command(task.id, folder.parent)}` gets {task.called}, "
            "or name your own annotations with --data"
        )
    if not task.splits:
        return folder
    part = folder / (split or task.splits[0])
    if not part.is_dir():
        there = [name for name in task.splits if (folder / name).is_dir()]
        raise SlonikError(
            f"there is no {part}: {folder} holds {', '.join(there) or 'no part of the official split'}"
            + (f"; name one with --split {there[0]}" if there else "")
        )
    return part


def published_records(task: NerTask) -> list[Record]:
    """The published rows as records that no report takes for measured ones."""
    records = []
    for row in task.published:
        per_label = {label: {"f1": value} for label, value in row.per_label.items()}
        detail = {"published": True, "source": task.source, "per_label": per_label}
        for metric, value in (("f1_micro", row.micro), ("f1_macro", row.macro)):
            if value is not None:
                records.append(
                    Record(suite=SUITE, task=task.id, model=row.model, metric=metric, value=value, detail=detail)
                )
    return records
