"""Tables of taggers and the page of their errors: systems side by side, F1 per label, differences, every mistake.

Beside them: names that the training texts have and that they have not, figures without documents that hold much of a
label, what a confidence is worth, F1 against time and size, the learning curve. Reads records of the suite "ner" and
rows of mistakes. Nothing is computed but the layout and who stands on the Pareto front.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from slonik.core.records import Record
from slonik.reporting import page
from slonik.reporting.formatting import cell, number_cell
from slonik.reporting.plots import Point, curve, drawn, pareto
from slonik.reporting.scores import difference_tables, is_difference, is_published
from slonik.reporting.table import Cell, Content, Table
from slonik.reporting.trade_offs import pareto_front
from slonik.tagging.tasks import SUITE

_METRICS = {
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "precision_micro": "precision",
    "recall_micro": "recall",
    "f1_overlap": "F1, any overlap",
    "f1_outer": "F1, outer",
    "f1_inner": "F1, inner",
    "f1_documents": "F1, mean of documents",
}
_COSTS = {"ms_per_text": "ms per text", "bytes": "size", "n": "texts"}
_INTERVALS = "95 % intervals by bootstrap over documents"
_KINDS = {
    "missed": "Missed: a gold span that nothing predicted overlaps",
    "invented": "Invented: a predicted span that overlaps no gold one",
    "border": "Wrong border: right label, other start or end",
    "type": "Wrong type: right borders, other label",
    "border and type": "Wrong border and type",
}
_WORST = 20  # documents
_SHOWN = 300  # mistakes of one kind and label; a page must open in a browser
_STYLE = (
    "<style>.gold{border-bottom:3px solid var(--s3)}.pred{background:color-mix(in srgb,var(--s2) 30%,transparent)}"
    ".err{margin:.5rem 0;padding:.4rem 0;border-bottom:1px solid var(--grid);max-width:none;overflow-wrap:anywhere}"
    ".err small{display:block;color:var(--muted)}</style>"
)


def ner_tables(records: Sequence[Record], *, caution: str = "") -> list[Table]:
    """Systems, labels, differences: the tables that the records fill.

    Args:
        caution: what must be said beside published rows.
    """
    own = [record for record in records if record.suite == SUITE]
    systems = _by_system(record for record in own if not is_difference(record))
    if not systems:
        return []
    measured = {name: found for name, found in systems.items() if not is_published(next(iter(found.values())))}
    tables = [
        _systems(systems, own[0].task, caution), _labels(systems), _names(measured), _heavy(measured),
        _confidence(measured), *difference_tables(own), _by_fold(own), _learning(measured),
    ]  # fmt: skip
    return [table for table in tables if table.rows]


def _by_system(records: Iterable[Record]) -> dict[str, dict[str, Record]]:
    """Name (with the variant where there is one) -> metric -> record."""
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        name = f"{record.model}, {record.variant}" if record.variant else record.model
        name += ", published" if is_published(record) else ""
        found.setdefault(name, {})[record.metric] = record
    return found


def _published(systems: Mapping[str, Mapping[str, Record]]) -> set[str]:
    return {name for name, found in systems.items() if is_published(next(iter(found.values())))}


def _systems(systems: Mapping[str, Mapping[str, Record]], task: str, caution: str) -> Table:
    def content(name: str, column: str) -> Content:
        found = systems[name]
        if column in _METRICS:
            return cell(found.get(column))
        if column == "n":
            return next(iter(found.values())).n or None
        return number_cell(column, found["f1_micro"].detail.get(column) if "f1_micro" in found else None)

    published = _published(systems)
    notes = [_INTERVALS]
    if published:
        notes.append(f"rows in italics were not measured here: {caution}" if caution else "rows in italics: published")
    shown = {name: title for name, title in _METRICS.items() if any(name in found for found in systems.values())}
    return Table.grid(
        f"Named entities: {task}", "system", {name: name for name in systems}, shown | _COSTS, content, notes=notes,
        published=published,
    )  # fmt: skip


def _detail(found: Mapping[str, Record], name: str) -> Any:
    """A part of the detail of micro F1."""
    return found["f1_micro"].detail.get(name) if "f1_micro" in found else None


def _names(systems: Mapping[str, Mapping[str, Record]]) -> Table:
    """Names that the training texts mark beside those that they do not."""
    rows = {name: names for name, found in systems.items() if (names := _detail(found, "names"))}
    columns = {
        f"{kind} {what}": f"{kind}: {title}"
        for kind in ("seen", "unseen")
        for what, title in (("gold", "gold spans"), ("recall", "recall"), ("precision", "precision"), ("f1", "F1"))
    }

    def content(name: str, column: str) -> Content:
        kind, _, what = column.partition(" ")
        value = rows[name][kind].get(what)
        if what == "gold" or value is None:
            return f"{value:,}" if value is not None else ""
        return number_cell("f1", value["value"], value["low"], value["high"])

    return Table.grid(
        "Names that the training texts have, and that they have not", "system", {name: name for name in rows}, columns,
        content, notes=["a name is seen where a training text marks the same words, whatever their label"],
    )  # fmt: skip


def _heavy(systems: Mapping[str, Mapping[str, Record]]) -> Table:
    """Figures with and without documents that hold much of a label."""
    rows = {name: heavy for name, found in systems.items() if (heavy := _detail(found, "heavy"))}
    labels = sorted({one["label"] for heavy in rows.values() for one in heavy["documents"]})
    columns = {"f1_micro": "micro F1", "without f1_micro": "without", "f1_macro": "macro F1"}
    columns |= {"without f1_macro": "without"}
    columns |= {key: title for label in labels for key, title in ((label, label), (f"without {label}", "without"))}

    def content(name: str, column: str) -> Content:
        less, _, key = column.rpartition(" ") if column.startswith("without ") else ("", "", column)
        if key in _METRICS and not less:
            return cell(systems[name].get(key))
        if key in _METRICS:
            ends = rows[name].get(key)
            return number_cell("f1", ends["value"], ends["low"], ends["high"]) if ends else ""
        values = rows[name].get("per_label", {}) if less else (_detail(systems[name], "per_label") or {})
        value = values.get(key)
        return number_cell("f1", value.get("f1") if isinstance(value, Mapping) else value)

    told = dict.fromkeys(
        f"document {one['document']} holds {one['spans']} of {one['of']} spans of {one['label']}"
        for heavy in rows.values()
        for one in heavy["documents"]
    )
    return Table.grid(
        "With and without documents that hold much of a label", "system", {name: name for name in rows}, columns,
        content, notes=list(told),
    )  # fmt: skip


def _confidence(systems: Mapping[str, Mapping[str, Record]]) -> Table:
    """What a confidence is worth: its error, and of each tenth how often spans are right."""
    rows = {name: found["calibration_error"] for name, found in systems.items() if "calibration_error" in found}
    places = sorted({one["from"] for record in rows.values() for one in record.detail.get("bins", ())})
    columns = {"error": "calibration error"} | {str(place): f"{place:.1f} to {place + 0.1:.1f}" for place in places}

    def content(name: str, column: str) -> Content:
        if column == "error":
            return cell(rows[name])
        one = next((one for one in rows[name].detail.get("bins", ()) if str(one["from"]) == column), None)
        return f"{one['right']:.2f} of {one['spans']:,}" if one else ""

    return Table.grid(
        "Confidence: the share of spans that are right", "system", {name: name for name in rows}, columns, content,
        notes=["calibration error: mean distance between confidence and the share that is right, ten bins"],
    )  # fmt: skip


def _by_fold(records: Sequence[Record]) -> Table:
    """Paired differences of micro F1 by fold, with the t interval over the folds."""
    rows = {
        record.model: record.detail["folds"]
        for record in records
        if record.metric == "difference" and len(record.detail.get("folds", {}).get("values", ())) > 1
    }
    folds = sorted({fold for found in rows.values() for fold in found["values"]}, key=int)

    def content(name: str, column: str) -> Content:
        if column == "mean":
            found = rows[name]
            return f"{found['mean']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"
        value = rows[name]["values"].get(column)
        return f"{value:+.4f}" if value is not None else ""

    return Table.grid(
        "Differences of micro F1 by fold", "systems", {name: name for name in rows},
        {"mean": "mean over folds"} | {fold: f"fold {fold}" for fold in folds}, content,
        notes=["95 % t intervals over folds, which share training texts: a little narrow"],
    )  # fmt: skip


def _learning(systems: Mapping[str, Mapping[str, Record]]) -> Table:
    """Micro F1 by share of the training texts."""
    rows = {name: points for name, found in systems.items() if (points := _detail(found, "learning"))}
    shares = sorted({point["share"] for points in rows.values() for point in points})

    def content(name: str, column: str) -> Content:
        point = next((one for one in rows[name] if str(one["share"]) == column), None)
        return number_cell("f1", point["f1"], point["low"], point["high"]) if point else ""

    return Table.grid(
        "Learning curve: micro F1 by share of the training texts", "system", {name: name for name in rows},
        {str(share): f"{100 * share:g} %" for share in shares}, content, notes=[_INTERVALS],
    )  # fmt: skip


def _labels(systems: Mapping[str, Mapping[str, Record]]) -> Table:
    found = {
        name: labels
        for name, records in systems.items()
        if "f1_micro" in records and (labels := records["f1_micro"].detail.get("per_label"))
    }
    published = _published(systems)
    measured = [labels for name, labels in found.items() if name not in published]
    rows = sorted({label for labels in measured for label in labels})

    def content(label: str, name: str) -> Content:
        if name == "":
            return str(measured[0].get(label, {}).get("gold", ""))
        values = found[name].get(label, {})
        return number_cell("f1", values.get("f1"), values.get("low"), values.get("high"))

    columns = {"": "gold spans", **{name: name for name in found}}
    return Table.grid("F1 per label", "label", {label: label for label in rows}, columns, content, notes=[_INTERVALS])


def error_page(
    records: Sequence[Record],
    errors: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    title: str,
    caution: str = "",
    documents: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> str:
    """The error browser: one page with metrics, type confusion, and every mistake in its context.

    Mistakes fold out by kind and label; the gold span is underlined, the predicted one has a background. One file, no
    script, everything escaped: texts and labels come from outside.

    Args:
        records: of every system on the task.
        errors: system -> its mistakes, as `slonik.tagging.matching.error_rows` makes them.
        caution: what must be said beside published rows.
        documents: system -> its documents with mistakes, as `TaggerScores.by_document` gives them.
    """
    own = [record for record in records if not record.detail.get("published")]
    best = {record.model: record for record in own if record.metric == "f1_micro"}
    tiles = [
        page.Tile(name, f"{record.value:.4f}", "micro F1" + _ends(record))
        for name, record in best.items()
        if record.value is not None
    ]
    notes = [note for record in best.values() for note in record.detail.get("notes", ())]
    blocks = [
        _STYLE,
        page.tiles(tiles),
        *(page.section(table.title, page.table(table)) for table in ner_tables(records, caution=caution)),
        *_plots(own),
        page.section("To be read beside the metrics", *(page.paragraph(note) for note in dict.fromkeys(notes))),
    ]
    for name, rows in errors.items():
        record = best.get(name)
        blocks.append(_confusion(name, record.detail.get("confusion", {}) if record else {}))
        blocks.append(_worst(name, (documents or {}).get(name, ())))
        blocks.append(_browser(name, rows))
    lead = ["In each line below: gold spans are underlined, predicted spans have a background."]
    return page.page(title, eyebrow="named entities", lead=lead, blocks=blocks)


def _plots(records: Sequence[Record]) -> list[str]:
    """F1 against time and against size, the learning curve and the reliability of confidences, where there are such."""
    systems = _by_system(record for record in records if not is_difference(record))
    blocks = []
    for cost, words in (("ms_per_text", "milliseconds per text"), ("bytes", "bytes on disk")):
        found = [
            (name, float(value), one["f1_micro"].value)
            for name, one in systems.items()
            if (value := _detail(one, cost)) and one["f1_micro"].value is not None
        ]
        if len(found) > 1:
            front = pareto_front([(x, y or 0.0) for _, x, y in found], less_is_better=(True, False))
            points = [Point(name, x, y or 0.0, front=on) for (name, x, y), on in zip(found, front, strict=True)]
            plot = drawn(lambda points=points, words=words: pareto(  # type: ignore[misc]
                points, x_label=words, y_label="micro F1", less_x_is_better=True))  # fmt: skip
            blocks.append(page.section(f"F1 against {words}", page.figure(plot, "the line joins the Pareto front")))
    series = {
        name: [(100 * one["share"], one["f1"]) for one in points]
        for name, found in systems.items()
        if (points := _detail(found, "learning"))
    }
    if series:
        plot = drawn(lambda: curve(series, x_label="% of the training texts"))
        blocks.append(page.section("Learning curve", page.figure(plot, "micro F1 by share of the training texts")))
    sure = {
        name: [(one["confidence"], one["right"]) for one in found["calibration_error"].detail.get("bins", ())]
        for name, found in systems.items()
        if "calibration_error" in found
    }
    if sure:
        sure = {"ideal": [(0.0, 0.0), (1.0, 1.0)], **sure}
        plot = drawn(lambda: curve(sure, x_label="confidence"))
        blocks.append(page.section("Reliability", page.figure(plot, "share of spans that are right, by confidence")))
    return blocks


def _worst(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The documents with most mistakes."""
    if not rows:
        return ""
    columns = ("document", "gold", "predicted", "right", "f1")
    shown = [tuple(str(row["document"]) if key == "document" else row[key] for key in columns) for row in rows[:_WORST]]
    lines = [(*line[:-1], number_cell("f1", float(str(line[-1])))) for line in shown]
    table = Table.of("", ("document", "gold", "predicted", "right", "F1"), lines)
    return page.section(f"{name}: documents with most mistakes", page.table(table))


def _ends(record: Record) -> str:
    return f", {record.low:.4f} to {record.high:.4f}" if record.low is not None and record.high is not None else ""


def _confusion(name: str, found: Mapping[str, Mapping[str, int]]) -> str:
    """Gold labels down, predicted across."""
    if not found:
        return ""
    columns = sorted({label for row in found.values() for label in row}, key=lambda label: (label == "nothing", label))
    rows = sorted(found, key=lambda label: (label == "nothing", label))
    note = "Gold labels down, predicted labels across; spans that overlap, whatever their borders."
    table = Table.grid(
        f"{name}: which label was taken for which", "gold", {gold: gold for gold in rows},
        {label: label for label in columns}, lambda gold, label: _times(found[gold].get(label), same=gold == label),
        notes=[note],
    )  # fmt: skip
    return page.section(table.title, page.table(table))


def _times(count: int | None, *, same: bool) -> Cell:
    return Cell(f"{count:,}" if count is not None else "", mark="best" if same else "")


def _browser(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for kind, words in _KINDS.items():
        mine = [row for row in rows if row["kind"] == kind]
        if not mine:
            continue
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in mine:
            groups.setdefault(_labels_of(row), []).append(row)
        inside = "".join(
            page.fold(f"{label} ({len(group):,})", _group(group))
            for label, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        )
        parts.append(page.fold(f"{words} ({len(mine):,})", f'<div style="margin-left:1rem">{inside}</div>'))
    return page.section(f"{name}: {len(rows):,} mistakes", *parts)


def _labels_of(row: Mapping[str, Any]) -> str:
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
    parts = []
    for start, end in itertools.pairwise(places):
        kinds = [name for name, side in (("gold", gold), ("pred", predicted)) if side and _within(start, end, side)]
        words = escape(text[start:end])
        parts.append(f'<span class="{" ".join(kinds)}">{words}</span>' if kinds else words)
    before, after = row.get("cut", (False, False))
    facts = [f"document {row['document']}"]
    facts += [f"gold {gold['label']}"] if gold else []
    if predicted:
        sure = f", confidence {predicted['confidence']:.2f}" if "confidence" in predicted else ""
        facts.append(f"predicted {predicted['label']}{sure}")
    return (
        f'<p class="err">{"… " if before else ""}{"".join(parts)}{" …" if after else ""}'
        f"<small>{escape('; '.join(facts))}</small></p>"
    )


def _within(start: int, end: int, side: Mapping[str, Any]) -> bool:
    return bool(side["start"] <= start and end <= side["end"])
