"""The error browser of a tagger: one page with scores, type confusion, and every mistake in its context.

Mistakes fold out by kind and label; the gold span is underlined, the predicted one has a background. One file, no
script, everything escaped: texts and labels come from outside.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from slonik.core.records import Record
from slonik.reporting import page
from slonik.reporting.table import Cell, Row, Table
from slonik.tagging.report.ner import ner_tables

_KINDS = {
    "missed": "Missed: a gold span that nothing predicted overlaps",
    "invented": "Invented: a predicted span that overlaps no gold one",
    "border": "Wrong border: right label, other start or end",
    "type": "Wrong type: right borders, other label",
    "border and type": "Wrong border and type",
}
_SHOWN = 300  # mistakes of one kind and label; a page must open in a browser
_STYLE = (
    "<style>.gold{border-bottom:3px solid var(--s3)}.pred{background:color-mix(in srgb,var(--s2) 30%,transparent)}"
    ".err{margin:.5rem 0;padding:.4rem 0;border-bottom:1px solid var(--grid);max-width:none;overflow-wrap:anywhere}"
    ".err small{display:block;color:var(--muted)}</style>"
)


def error_page(
    records: Sequence[Record], errors: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str, caution: str = ""
) -> str:
    """The whole page.

    Args:
        records: of every system on the task.
        errors: system -> its mistakes, as `slonik.tagging.evaluation.errors.error_rows` makes them.
        caution: what must be said beside published rows.
    """
    own = [record for record in records if not record.detail.get("published")]
    best = {record.model: record for record in own if record.metric == "f1_micro"}
    tiles = [
        page.Tile(name, f"{record.value:.4f}", "micro F1" + _spread(record))
        for name, record in best.items()
        if record.value is not None
    ]
    notes = [note for record in best.values() for note in record.detail.get("notes", ())]
    blocks = [
        _STYLE,
        page.tiles(tiles),
        *(page.section(table.title, page.table(table)) for table in ner_tables(records, caution=caution)),
        page.section("To be read beside the figures", *(page.paragraph(note) for note in dict.fromkeys(notes))),
    ]
    for name, rows in errors.items():
        record = best.get(name)
        blocks.append(_confusion(name, record.detail.get("confusion", {}) if record else {}))
        blocks.append(_browser(name, rows))
    lead = ["In each line below: gold spans are underlined, predicted spans have a background."]
    return page.page(title, eyebrow="named entities", lead=lead, blocks=blocks)


def _spread(record: Record) -> str:
    return f", {record.low:.4f} to {record.high:.4f}" if record.low is not None and record.high is not None else ""


def _confusion(name: str, found: Mapping[str, Mapping[str, int]]) -> str:
    """Gold labels down, predicted across."""
    if not found:
        return ""
    columns = sorted({label for row in found.values() for label in row}, key=lambda label: (label == "nothing", label))
    rows = []
    for gold, counts in sorted(found.items(), key=lambda item: (item[0] == "nothing", item[0])):
        cells = [
            Cell(f"{counts[label]:,}" if label in counts else "", mark="best" if label == gold else "")
            for label in columns
        ]
        rows.append(Row((Cell(gold), *cells)))
    note = "Gold labels down, predicted labels across; spans that overlap, whatever their borders."
    table = Table(f"{name}: which label was taken for which", ("gold", *columns), tuple(rows), (note,))
    return page.section(table.title, page.table(table))


def _browser(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for kind, words in _KINDS.items():
        mine = [row for row in rows if row["kind"] == kind]
        if not mine:
            continue
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in mine:
            groups.setdefault(_labels(row), []).append(row)
        inside = "".join(
            page.fold(f"{label} ({len(group):,})", _group(group))
            for label, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        )
        parts.append(page.fold(f"{words} ({len(mine):,})", f'<div style="margin-left:1rem">{inside}</div>'))
    return page.section(f"{name}: {len(rows):,} mistakes", *parts)


def _labels(row: Mapping[str, Any]) -> str:
    gold, predicted = row.get("gold"), row.get("predicted")
    names = [side["label"] for side in (gold, predicted) if side]
    return names[0] if len(set(names)) == 1 else " → ".join(names)


def _group(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = "".join(_line(row) for row in rows[:_SHOWN])
    rest = page.paragraph(f"and {len(rows) - _SHOWN:,} more", note=True) if len(rows) > _SHOWN else ""
    return shown + rest


def _line(row: Mapping[str, Any]) -> str:
    """One mistake: the stretch of text with both spans marked, and under it what was wanted and what was given."""
    text, gold, predicted = str(row["context"]), row.get("gold"), row.get("predicted")
    borders = {0, len(text)}
    for side in (gold, predicted):
        if side:
            borders |= {side["start"], side["end"]}
    places = sorted(borders)
    pieces = []
    for start, end in itertools.pairwise(places):
        kinds = [name for name, side in (("gold", gold), ("pred", predicted)) if side and _within(start, end, side)]
        words = escape(text[start:end])
        pieces.append(f'<span class="{" ".join(kinds)}">{words}</span>' if kinds else words)
    before, after = row.get("cut", (False, False))
    facts = [f"document {row['document']}"]
    facts += [f"gold {gold['label']}"] if gold else []
    if predicted:
        sure = f", confidence {predicted['confidence']:.2f}" if "confidence" in predicted else ""
        facts.append(f"predicted {predicted['label']}{sure}")
    return (
        f'<p class="err">{"… " if before else ""}{"".join(pieces)}{" …" if after else ""}'
        f"<small>{escape('; '.join(facts))}</small></p>"
    )


def _within(start: int, end: int, side: Mapping[str, Any]) -> bool:
    return bool(side["start"] <= start and end <= side["end"])
