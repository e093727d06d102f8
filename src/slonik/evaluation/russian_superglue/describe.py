"""What the data is like, in one line per part: items, labels, lengths, what baselines are fitted on. Counts only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from slonik.evaluation.russian_superglue.labels import label_name
from slonik.evaluation.russian_superglue.parts import Part

COLUMNS = ("task", "split", "items", "resampled units", "labels", "words (median, most)", "baselines fitted on")


def lines(parts: Sequence[Part]) -> list[tuple[str, ...]]:
    """Cells of a table with `COLUMNS`; words are those of all texts of an item together."""
    return [_line(part) for part in parts]


def notes(parts: Sequence[Part]) -> list[str]:
    """A sentence for every official file that has another number of rows than the published one."""
    found = []
    for part in parts:
        rows, official = len({example.cluster for example in part.examples}), part.task.sizes.get(part.split)
        if official not in (None, rows):
            found.append(
                f"{part.path} has {rows} rows, the official {part.split} of {part.task.name} has {official}: figures "
                "on it do not compare with published ones"
            )
    return found


def _line(part: Part) -> tuple[str, ...]:
    words = [
        sum(len(str(example.fields[name]).split()) for name in part.task.texts if name in example.fields)
        for example in part.examples
    ]
    return (
        part.task.name,
        part.split,
        str(len(part.examples)),
        str(len({example.cluster for example in part.examples})),
        label_counts(part),
        f"{median(words):.0f}, {max(words)}",
        part.fitted_on,
    )


def label_counts(part: Part) -> str:
    """Labels with their counts, e.g. "entailment 201, not_entailment 266"; candidates per query for RuCoS."""
    if not part.task.labels:
        counts = [len(example.fields["entities"]) for example in part.examples]
        return f"{sum(counts) / len(counts):.1f} entities a query"
    found = Counter(label_name(example.label) for example in part.examples if example.label is not None)
    if not found:
        return "not given"
    return ", ".join(f"{label_name(label)} {found[label_name(label)]}" for label in part.task.labels)
