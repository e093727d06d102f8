"""Probing results in the paper's form ("84.8 [8]"), with what the paper leaves out: intervals, baselines, selectivity.

Reads records alone. A row per task, a column per model and baseline. Accuracies are percentages here, as the paper
prints them; records hold fractions. Where a program made a task's labels, its error rate is under the task's name in
every table. What was built by `builder` is told from its manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
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
        if any(record.metric == "uuas" for record in found):
            tables.append(_trees(found))
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
    blocks = [section(found.title, table(found)) for found in tables]
    blocks += [section(f"Layers: {title}", figure(plot)) for title, plot in layer_maps(records).items()]
    maps = {f"{metric}: {title}": plot for metric in ("selectivity", "compression")
            for title, plot in layer_maps(records, metric).items()}  # fmt: skip
    blocks += [section("More by layer", *(fold(title, figure(plot)) for title, plot in maps.items()))] if maps else []
    blocks += (
        [section("Trees by layer", *(figure(plot) for plot in layer_maps(records, "uuas").values()))]
        if any(r.metric == "uuas" and r.layer is not None for r in records)
        else []
    )
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
            known = [r for r in found if r.layer is not None and r.value is not None]
            tasks = names(known, "task")  # a task that no layer has a value of would be an empty row
            layers = sorted({r.layer for r in known if r.layer is not None})
            if not known:
                continue
            best: dict[str, Any] = {r.task: r.detail.get("layer") for r in found if r.layer is None}
            title = f"{model}, {variant}"
            scale, form = (100, "{:.0f}") if metric != "compression" else (1, "{:.1f}")
            cells = {(r.task, r.layer): scale * r.value for r in found if r.value is not None}
            plots[title] = heatmap(
                [[cells.get((task, layer)) for layer in layers] for task in tasks],
                rows=list(tasks), columns=[str(layer) for layer in layers], x_label="layer (0 = embeddings)",
                alt=f"{metric} of {title} by task and layer", write=form.format,
                marks=[layers.index(best[task]) if best.get(task) in layers else None for task in tasks],
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
        "and validation sentences, the layers that 95 % of the resamples prefer, and that layer's accuracy on "
        "validation; layer 0 = embeddings",
        *_cut_notes(whole),
        *sorted({str(note) for r in whole for note in r.detail.get("notes", [])}),
    ]
    return _by_task(
        f"Probing, {variant}", records, names(whole, "task"), models | others,
        lambda task, model: _accuracy_cell(cells.get((task, model)), best.get(task, 0.0)), notes,
    )  # fmt: skip


def _by_task(
    title: str, records: Sequence[Record], tasks: Mapping[str, str], columns: Mapping[str, str],
    cell: Callable[[str, str], Content], notes: Sequence[str],
) -> Table:  # fmt: skip
    """A table with a row per task, the error rate of its labels under its name."""
    errors = {r.task: _label_errors(r.detail["labels"]) for r in records if "labels" in r.detail}
    found = Table.grid(title, "task", tasks, columns, cell, notes=notes)
    rows = [
        replace(row, cells=(replace(row.cells[0], spread=errors.get(row.cells[0].text, "")), *row.cells[1:]))
        for row in found.rows
    ]
    return replace(found, rows=tuple(rows))


def _label_errors(labels: Mapping[str, Any]) -> str:
    error, low, high = (labels.get(name) for name in ("label_error", "low", "high"))
    if error is None:
        return f"labels of {labels['by']}: errors not known"
    return f"wrong labels: {100 * error:.1f} % [{100 * (low or 0):.1f}, {100 * (high or 0):.1f}]"


def _cut_notes(records: Iterable[Record]) -> list[str]:
    """Which share of a task's sentences a model did not read whole."""
    found: dict[str, list[str]] = {}
    for record in records:
        counts = record.detail.get("cut") or {}
        if cut := sum(counts.values()):
            told = ", ".join(f"{split} {count}" for split, count in counts.items())
            found.setdefault(record.model, []).append(f"{record.task} {cut} ({told})")
    return [f"sentences longer than {model}, cut at its length: {'; '.join(tasks)}" for model, tasks in found.items()]


def _accuracy_cell(record: Record | None, best: float) -> Cell | None:
    if record is None or record.value is None:
        return None
    layer = record.detail.get("layer")
    place = "" if layer is None else f" [{layer}]"
    spread = "" if record.low is None or record.high is None else f"[{100 * record.low:.1f}, {100 * record.high:.1f}]"
    if layer is not None:
        low, high = record.detail.get("layer_low", layer), record.detail.get("layer_high", layer)
        spread += f", layer {low}–{high}" if low != high else f", layer {layer}"
    held = record.detail.get("validation_accuracy")
    gap = record.detail.get("gap")
    if held is not None and layer is not None:
        spread += f", validation {100 * held:.1f}"
        if gap and (gap["low"] > 0 or gap["high"] < 0):
            spread += f", which is {abs(100 * gap['value']):.1f} {'lower' if gap['value'] > 0 else 'higher'}"
    is_best = record.value >= best and not record.detail.get("published")
    return Cell(f"{100 * record.value:.1f}{place}", spread.removeprefix(", "), "best" if is_best else "")


def _trees(records: Sequence[Record]) -> Table:
    """The structural probe: trees found, rank correlation, and trees of control labels."""
    found = [r for r in records if r.layer is None and r.value is not None]
    cells = {(r.model, r.metric): r for r in found}
    metrics = {"uuas": "edges found, %", "spearman": "Spearman", "control_uuas": "control edges, %"}

    def cell(model: str, metric: str) -> Cell | None:
        record = cells.get((model, metric))
        if record is None or record.value is None:
            return None
        scale, digits = (1, 3) if metric == "spearman" else (100, 1)
        ends = ", ".join(f"{scale * (end or 0):.{digits}f}" for end in (record.low, record.high))
        detail = record.detail
        layer = detail.get("layer")
        spread = f"[{ends}]" + (
            f", layer {detail['layer_low']}–{detail['layer_high']}" if "layer_low" in detail else ""
        )
        return Cell(f"{scale * record.value:.{digits}f}" + ("" if layer is None else f" [{layer}]"), spread)

    notes = ["edges of the dependency tree in the minimum spanning tree of the probe's distances, at the layer that "
             "validation prefers; control: trees that tie every word to a random end of its sentence",
             *sorted({str(note) for r in found for note in r.detail.get("notes", [])})]  # fmt: skip
    models = names([r for r in found if not _is_reference(r)], "model")
    others = names([r for r in found if _is_reference(r)], "model")
    return Table.grid("Probing, trees", "model", models | others, metrics, cell, notes=notes, baselines=others)


def _best_layers(variant: str, metric: str, records: Sequence[Record]) -> Table:
    """Values at the best layer, with what control labels give there."""
    found = [r for r in records if r.metric == metric and r.value is not None and r.layer is None]
    scale, digits = (100, 1) if metric == "selectivity" else (1, 2)
    cells = {(r.task, r.model): r for r in found}

    def written(number: float | None) -> str:
        return f"{scale * (number or 0):.{digits}f}".replace("-", "−")

    def cell(task: str, model: str) -> Cell | None:
        record = cells.get((task, model))
        if record is None:
            return None
        detail = record.detail
        spread = f"[{written(record.low)}, {written(record.high)}]"
        if "layer_low" in detail:
            spread += f", layer {detail['layer_low']}–{detail['layer_high']}"
        control = detail.get("control_accuracy", detail.get("control_compression"))
        spread += "" if control is None else f", control {written(control)}"
        return Cell(f"{written(record.value)} [{detail.get('layer')}]", spread)

    says = {
        "selectivity": "accuracy minus accuracy on control labels, percentage points, at the best layer; a control "
        "label is random by word, and every test sentence shares its word with a training one",
        "compression": "uniform over online codelength of the training labels at the layer with the shortest code, "
        "95 % interval over sentences and orders, likely layers, and the same for control labels",
    }
    ways = sorted({str(r.detail["control"]) for r in found if "control" in r.detail})
    notes = [says[metric], *([f"control labels go by {' or '.join(ways)}"] if ways else [])]
    title = f"Probing, {variant}: {metric}"
    return _by_task(title, records, names(found, "task"), names(found, "model"), cell, notes)


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
    return _by_task(f"Probing, {variant}: differences", records, names(found, "task"), pairs, cell, [note])


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
