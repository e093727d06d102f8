"""Labels merged and dropped as a recipe says, before training and before scoring alike.

Does: rename and drop labels of spans and of the BRAT lines behind them, with everything that refers to a dropped
annotation; count what was done. Does not: flatten overlaps (see `overlaps`), invent labels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field, model_validator

from slonik.core.config import Config, build_config, read_recipe
from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.overlaps import Policy

#: What was left out or changed on the way, as words -> how often.
Counts = Counter[str]

_REFERENCE = re.compile(r"(?<![\w#*])([TREAMN#]\d+)(?!\w)")


class LabelMapping(Config):
    """How labels and overlaps of a collection are made fit for taggers.

    Attributes:
        merge: label -> the label it becomes, e.g. {"HACKER_GROUP": "HACKER"}.
        drop: labels whose spans are left out, e.g. ["ARTEFACT", "MEDIA"].
        overlaps: which of two overlapping spans stays, where one must go.
    """

    merge: dict[str, str] = Field(default_factory=dict)
    drop: tuple[str, ...] = ()
    overlaps: Policy = "longest"

    @model_validator(mode="after")
    def _no_label_twice(self) -> LabelMapping:
        both = sorted(set(self.merge) & set(self.drop))
        if both:
            raise ValueError(f"{', '.join(both)}: merged and dropped at the same time; leave one out")
        return self

    def label(self, label: str) -> str | None:
        """What `label` becomes; None when its spans are dropped."""
        return None if label in self.drop else self.merge.get(label, label)

    def apply(self, documents: Iterable[Document], counts: Counts) -> Iterator[Document]:
        """Documents with mapped labels, in order; `counts` grows by what was renamed and dropped."""
        for document in documents:
            spans = []
            for span in document.spans:
                label = self.label(span.label)
                if label is None:
                    counts[f"spans of {span.label} dropped by the mapping"] += 1
                    continue
                if label != span.label:
                    counts[f"spans of {span.label} counted as {label}"] += 1
                spans.append(Span(span.start, span.end, label, span.confidence))
            lines = self._map_lines(document.annotations, counts)
            yield Document(document.id, document.text, tuple(sorted(spans)), lines, document.tokens)

    def _map_lines(self, lines: tuple[str, ...], counts: Counts) -> tuple[str, ...]:
        """The .ann lines relabelled; a line that refers to a dropped one goes too, and what refers to that."""
        gone: set[str] = set()
        kept: list[str] = []
        for line in lines:
            name, tab, rest = line.partition("\t")
            if not name.startswith("T") or not tab:
                kept.append(line)
                continue
            label, space, tail = rest.partition(" ")
            wanted = self.label(label)
            if wanted is None:
                gone.add(name)
            else:
                kept.append(f"{name}\t{wanted}{space}{tail}")
        while gone:
            staying = [line for line in kept if not _refers(line, gone)]
            if len(staying) == len(kept):
                break
            counts["relations, events, attributes and notes on dropped spans left out"] += len(kept) - len(staying)
            left = {line.partition("\t")[0] for line in kept} - {line.partition("\t")[0] for line in staying}
            kept, gone = staying, gone | left
        return tuple(kept)


def _refers(line: str, names: set[str]) -> bool:
    """Whether a line that is no text-bound annotation names one of `names` (its free text aside)."""
    if line.startswith("T"):
        return False
    parts = line.split("\t")
    return len(parts) > 1 and any(name in names for name in _REFERENCE.findall(parts[1]))


def read_mapping(path: str | Path | None) -> LabelMapping:
    """The mapping of a recipe: its field `mapping`, or the whole file; without a file nothing is changed.

    Raises:
        SlonikError: no such file, or a wrong field.
    """
    if path is None:
        return LabelMapping()
    content = read_recipe(path)
    section = content.get("mapping", content)
    return build_config(LabelMapping, section if isinstance(section, dict) else {}, source=f"the recipe {path}")
