"""Probing results in the paper's form ("84.8 [8]"), with what the paper leaves out: intervals, baselines, selectivity.

Reads records alone. A row per task, a column per model and baseline. Accuracies are percentages here, as the paper
prints them; records hold fractions. What was built by `builder` is told from its manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slonik.core.records import Record
from slonik.inspection.page import heatmap, names
from slonik.inspection.probing.tasks import SUITE
from slonik.reporting.formatting import number_cell, signed
from slonik.reporting.page import figure, fold, page, section, table
from slonik.reporting.plots import Plot
from slonik.reporting.table import Cell, Content, Table

_MOST_LABELS = 6  # named in the table of what was built


def probing_tables(records: Iterable[Record]) -> list[Table]:
    """Per variant: the paper's table with baselines, selectivity, compression, and paired differences."""
    own = [record for record in records if record.suite == SUITE]
    tables = []
    for variant in names(own, "variant"):
        found = [record for record in own if record.variant == variant]
        if any(record.metric == "accuracy" for record in found):
            tables.append(_accuracy(variant, found))
        for metric in ("selectivity", "compression"):
            if any(record.metric == metric for record in found):
                tables.append(_best_layers(variant, metric, found))
        if any(record.metric == "difference" for record in found):
            tables.append(_differences(variant, found))
    return tables


def probing_page(records: Sequence[Record]) -> str:
    """A self-contained page: tables, and a heat map of every model."""
    tables = probing_tables(records)
    models = [name for name in names(records, "model") if not all(_is_reference(r) for r in records if r.model == name)]
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


def layer_maps(records: Iterable[Record], metric: str = "accuracy") -> dict[str, Plot]:
    """ "model, variant" -> heat map of layers against tasks; frames mark the layer that validation prefers."""
    own = [r for r in records if r.suite == SUITE and r.metric == metric and not _is_reference(r)]
    plots = {}
    for variant in names(own, "variant"):
        for model in names([r for r in own if r.variant == variant and r.layer is not None], "model"):
            found = [r for r in own if r.variant == variant and r.model == model]
            tasks = names(found, "task")
            layers = sorted({r.layer for r in found if r.layer is not None})
            best = {r.task: r.detail.get("layer") for r in found if r.layer is None}
            title = f"{model}, {variant}"
            scale, form = (100, "{:.0f}") if metric != "compression" else (1, "{:.1f}")
            cells = {(r.task, r.layer): scale * r.value for r in found if r.value is not None}
            plots[title] = heatmap(
                [[cells.get((task, layer)) for layer in layers] for task in tasks],
                rows=list(tasks), columns=[str(layer) for layer in layers], x_label="layer (0 = embeddings)",
                alt=f"{metric} of {title} by task and layer", write=form.format,
                marks=[best.get(task) for task in tasks],
            )  # fmt: skip
    return plots


def _accuracy(variant: str, records: Sequence[Record]) -> Table:
    """The paper's table; the best model of a task is marked."""
    whole = [r for r in records if r.metric == "accuracy" and r.layer is None]
    models = names([r for r in whole if not _is_reference(r)], "model")
    others = names([r for r in whole if _is_reference(r)], "model")
    cells = {(r.task, r.model): r for r in whole}
    best: dict[str, float] = {}
    for record in whole:
        if not record.detail.get("published"):
            best[record.task] = max(best.get(record.task, 0.0), record.value or 0.0)
    notes = [
        "accuracy in per cent [layer that validation prefers], then the 95 % interval by bootstrap over test "
        "and validation sentences, and the layers that 95 % of the resamples prefer; layer 0 = embeddings",
        *sorted({str(note) for r in whole for note in r.detail.get("notes", [])}),
    ]
    return Table.grid(
        f"Probing, {variant}", "task", names(whole, "task"), models | others,
        lambda task, model: _accuracy_cell(cells.get((task, model)), best.get(task, 0.0)), notes=notes,
    )  # fmt: skip


def _accuracy_cell(record: Record | None, best: float) -> Cell | None:
    if record is None or record.value is None:
        return None
    layer = record.detail.get("layer")
    place = "" if layer is None else f" [{layer}]"
    spread = "" if record.low is None or record.high is None else f"[{100 * record.low:.1f}, {100 * record.high:.1f}]"
    if layer is not None:
        low, high = record.detail.get("layer_low", layer), record.detail.get("layer_high", layer)
        spread += f", layer {low}–{high}" if low != high else f", layer {layer}"
    is_best = record.value >= best and not record.detail.get("published")
    return Cell(f"{100 * record.value:.1f}{place}", spread.removeprefix(", "), "best" if is_best else "")


def _best_layers(variant: str, metric: str, records: Sequence[Record]) -> Table:
    """Values at the layer that validation prefers; where there is none, the greatest over layers."""
    found = [r for r in records if r.metric == metric and r.value is not None]
    scale, digits = (100, 1) if metric == "selectivity" else (1, 2)

    def cell(task: str, model: str) -> Cell | None:
        own = [r for r in found if r.model == model and r.task == task]
        chosen = next((r for r in own if r.layer is None), max(own, key=lambda r: r.value or 0.0, default=None))
        if chosen is None:
            return None
        value, low, high = (
            f"{scale * (number or 0):.{digits}f}".replace("-", "−")
            for number in (chosen.value, chosen.low, chosen.high)
        )
        return Cell(f"{value} [{chosen.detail.get('layer', chosen.layer)}]", f"[{low}, {high}]")

    says = {
        "selectivity": "accuracy minus accuracy on random labels by first word, percentage points, at the best layer",
        "compression": "uniform over online codelength of the training labels, greatest over layers, "
        "two standard errors over orders",
    }
    tasks, models = names(found, "task"), names(found, "model")
    return Table.grid(f"Probing, {variant}: {metric}", "task", tasks, models, cell, notes=[says[metric]])


def _differences(variant: str, records: Sequence[Record]) -> Table:
    found = [r for r in records if r.metric == "difference"]
    cells = {(r.task, r.model): r for r in found}

    def cell(task: str, model: str) -> Cell | None:
        record = cells.get((task, model))
        if record is None or record.value is None or record.low is None or record.high is None:
            return None
        spread = f"[{signed(100 * record.low, 1)}, {signed(100 * record.high, 1)}]"
        return Cell(
            signed(100 * record.value, 1), spread, "better" if record.low > 0 else "worse" if record.high < 0 else ""
        )

    pairs = {model: f"{model} − {found[0].detail.get('against')}" for model in names(found, "model")}
    note = "percentage points at each model's own best layer; paired bootstrap; coloured where it leaves out 0"
    tasks = names(found, "task")
    return Table.grid(f"Probing, {variant}: differences", "task", tasks, pairs, cell, notes=[note])


def built_table(manifest: Mapping[str, Any]) -> Table:
    """What the builder's manifest says of every task: sizes, labels, words in two subsets, errors of the labels."""
    errors = manifest.get("label_errors", {})
    lines: list[tuple[Content, ...]] = []
    notes = []
    for name, facts in manifest["tasks"].items():
        if not facts["built"]:
            lines.append((Cell(name, mark="absent"), *[None] * 5))
            notes.append(f"{name} was not built: {facts['reason']}")
            continue
        error = errors.get(name) or {"label_error": None, "low": None, "high": None}
        sizes = " / ".join(str(count) for count in facts["sentences"].values())
        labels = facts["labels"]["tr"]
        named = ", ".join(f"{label} {count}" for label, count in list(labels.items())[:_MOST_LABELS])
        more = f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
        if left := facts.get("labels_left_out"):
            notes.append(f"{name} lacks the labels {', '.join(list(left)[:5])}: too few sentences")
        shared, largest = sum(facts["shared_keys"].values()), f"{facts['largest_key_share']:.3f}"
        wrong = number_cell("label_error", error["label_error"], error["low"], error["high"])
        lines.append((name, sizes, named + more, shared, largest, wrong))
    title = f"probing tasks from {manifest['sentences_read']:,} sentences ({manifest['annotation']})"
    columns = ("task", "tr / va / te", "labels in tr", "keys in two splits", "largest key", "label errors")
    return Table.of(title, columns, lines, notes)


def _is_reference(record: Record) -> bool:
    """Whether a record is of a baseline or was read in the paper."""
    return bool(record.detail.get("baseline") or record.detail.get("published"))
