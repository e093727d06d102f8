"""Probing results in the paper's form ("84.8 [8]"), with what the paper leaves out: intervals, baselines, selectivity.

Reads records alone. A row per task, a column per model and baseline. Accuracies are percentages here, as the paper
prints them; records hold fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slonik.core.records import Record
from slonik.inspection.report.heatmap import heatmap
from slonik.reporting.formatting import signed
from slonik.reporting.page import figure, fold, page, section, table
from slonik.reporting.plots import Plot
from slonik.reporting.table import ABSENT, Cell, Row, Table

SUITE = "probing"


def probing_tables(records: Iterable[Record]) -> list[Table]:
    """Per variant: the paper's table with baselines, selectivity, compression, and paired differences."""
    own = [record for record in records if record.suite == SUITE]
    tables = []
    for variant in _names(own, "variant"):
        found = [record for record in own if record.variant == variant]
        if any(record.metric == "accuracy" for record in found):
            tables.append(_accuracy(variant, found))
        for metric in ("selectivity", "compression"):
            if any(record.metric == metric for record in found):
                tables.append(_best_layers(variant, metric, found))
        if any(record.metric == "difference" for record in found):
            tables.append(_differences(variant, found))
    return tables


def layer_maps(records: Iterable[Record], metric: str = "accuracy") -> dict[str, Plot]:
    """ "model, variant" -> heat map of layers against tasks; frames mark the layer that validation prefers."""
    own = [r for r in records if r.suite == SUITE and r.metric == metric and not _is_beside(r)]
    plots = {}
    for variant in _names(own, "variant"):
        for model in _names([r for r in own if r.variant == variant and r.layer is not None], "model"):
            found = [r for r in own if r.variant == variant and r.model == model]
            tasks = _names(found, "task")
            layers = sorted({r.layer for r in found if r.layer is not None})
            cells = {(r.task, r.layer): r.value for r in found}
            best = {r.task: r.detail.get("layer") for r in found if r.layer is None}
            title = f"{model}, {variant}"
            scale, form = (100, "{:.0f}") if metric != "compression" else (1, "{:.1f}")
            values = [[_times(cells.get((task, layer)), scale) for layer in layers] for task in tasks]
            plots[title] = heatmap(
                values, rows=tasks, columns=[str(layer) for layer in layers], x_label="layer (0 = embeddings)",
                alt=f"{metric} of {title} by task and layer", write=form.format,
                marks=[best.get(task) for task in tasks],
            )  # fmt: skip
    return plots


def probing_page(records: Sequence[Record]) -> str:
    """A self-contained page: tables, and a heat map of every model."""
    tables = probing_tables(records)
    models = [name for name in _names(records, "model") if not _is_baseline(records, name)]
    blocks = [section(tables[0].title, table(tables[0]))] if tables else []
    blocks += [section(f"Layers: {title}", figure(plot)) for title, plot in layer_maps(records).items()]
    blocks += [section(found.title, table(found)) for found in tables[1:]]
    maps = {f"{metric}: {title}": plot for metric in ("selectivity", "compression")
            for title, plot in layer_maps(records, metric).items()}  # fmt: skip
    blocks += [section("More by layer", *(fold(title, figure(plot)) for title, plot in maps.items()))] if maps else []
    lead = [
        f"What the layers of {', '.join(models)} say about a sentence: accuracy of a probe in per cent, in "
        "brackets the layer that validation prefers, and the interval of both.",
    ]
    return page("Probing", eyebrow="RuSentEval", lead=lead, blocks=blocks)


def _accuracy(variant: str, records: Sequence[Record]) -> Table:
    """The paper's table; the best model of a task is marked."""
    whole = [r for r in records if r.metric == "accuracy" and r.layer is None]
    tasks = _names(whole, "task")
    models = _names([r for r in whole if not _is_beside(r)], "model")
    others = _names([r for r in whole if _is_beside(r)], "model")
    cells = {(r.model, r.task): r for r in whole}
    measured = [r for r in whole if not r.detail.get("published")]
    best = {task: max((r.value or 0.0 for r in measured if r.task == task), default=0.0) for task in tasks}
    rows = [Row((Cell(task), *(_cell(cells.get((name, task)), best[task]) for name in [*models, *others])))
            for task in tasks]  # fmt: skip
    notes = [
        "accuracy in per cent [layer that validation prefers], then the 95 % interval by bootstrap over test "
        "and validation sentences, and the layers that 95 % of the resamples prefer; layer 0 = embeddings",
        *sorted({str(note) for r in whole for note in r.detail.get("notes", [])}),
    ]
    return Table(f"Probing, {variant}", ("task", *models, *others), tuple(rows), tuple(notes))


def _cell(record: Record | None, best: float) -> Cell:
    if record is None or record.value is None:
        return ABSENT
    layer = record.detail.get("layer")
    place = "" if layer is None else f" [{layer}]"
    spread = "" if record.low is None or record.high is None else f"{100 * record.low:.1f}–{100 * record.high:.1f}"
    if layer is not None:
        low, high = record.detail.get("layer_low", layer), record.detail.get("layer_high", layer)
        spread += f", layer {low}–{high}" if low != high else f", layer {layer}"
    return Cell(
        f"{100 * record.value:.1f}{place}",
        spread,
        "best" if record.value >= best and not record.detail.get("published") else "",
    )


def _best_layers(variant: str, metric: str, records: Sequence[Record]) -> Table:
    """Figures at the layer that validation prefers; where there is none, the greatest over layers."""
    found = [r for r in records if r.metric == metric]
    tasks, models = _names(found, "task"), _names(found, "model")
    rows = []
    for task in tasks:
        cells = []
        for model in models:
            own = [r for r in found if r.model == model and r.task == task and r.value is not None]
            chosen = next((r for r in own if r.layer is None), max(own, key=lambda r: r.value or 0.0, default=None))
            if chosen is None:
                cells.append(ABSENT)
                continue
            layer = chosen.detail.get("layer", chosen.layer)
            scale, digits = (100, 1) if metric == "selectivity" else (1, 2)
            spread = f"{scale * (chosen.low or 0):.{digits}f} to {scale * (chosen.high or 0):.{digits}f}"
            cells.append(Cell(f"{scale * (chosen.value or 0):.{digits}f} [{layer}]".replace("-", "−"),
                              spread.replace("-", "−")))  # fmt: skip
        rows.append(Row((Cell(task), *cells)))
    says = {
        "selectivity": "accuracy minus accuracy on random labels by first word, percentage points, at the best layer",
        "compression": "uniform over online codelength of the training labels, greatest over layers, "
        "two standard errors over orders",
    }
    return Table(f"Probing, {variant}: {metric}", ("task", *models), tuple(rows), (says[metric],))


def _differences(variant: str, records: Sequence[Record]) -> Table:
    found = [r for r in records if r.metric == "difference" and r.value is not None]
    tasks = _names(found, "task")
    cells = {(r.model, r.task): r for r in found}
    models = _names(found, "model")
    rows = []
    for task in tasks:
        line = []
        for model in models:
            record = cells.get((model, task))
            if record is None or record.value is None or record.low is None or record.high is None:
                line.append(ABSENT)
                continue
            mark = "better" if record.low > 0 else "worse" if record.high < 0 else ""
            spread = f"{signed(100 * record.low, 1)} to {signed(100 * record.high, 1)}"
            line.append(Cell(signed(100 * record.value, 1), spread, mark))  # type: ignore[arg-type]
        rows.append(Row((Cell(task), *line)))
    pairs = [f"{model} − {found[0].detail.get('against')}" for model in models]
    note = "percentage points at each model's own best layer; paired bootstrap; coloured where it leaves out 0"
    return Table(f"Probing, {variant}: differences", ("task", *pairs), tuple(rows), (note,))


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else scale * value


def _is_baseline(records: Sequence[Record], model: str) -> bool:
    return all(_is_beside(record) for record in records if record.model == model)


def _is_beside(record: Record) -> bool:
    """Whether a record is of a baseline or was read in the paper."""
    return bool(record.detail.get("baseline") or record.detail.get("published"))


def _names(records: Iterable[Record], attribute: str) -> list[str]:
    """Distinct values of an attribute, in the order of the records."""
    return list(dict.fromkeys(str(getattr(record, attribute)) for record in records))
