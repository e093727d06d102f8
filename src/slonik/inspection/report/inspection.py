"""What `slonik inspect` found, drawn from its records: heads, attention, syntax, similarity of layers, neurons.

Records of the suite "inspection": `layer` counts from 1 (0 = embeddings), a head's number is the task "head_NN".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from slonik.core.records import Record
from slonik.inspection.report.heatmap import heatmap
from slonik.reporting.formatting import significant
from slonik.reporting.page import figure, page, section, table
from slonik.reporting.plots import Bar, Colours, Plot, bars
from slonik.reporting.table import ABSENT, Cell, Row, Table

SUITE = "inspection"
_MOST_HEADS = 12


def inspection_tables(records: Sequence[Record]) -> list[Table]:
    """All tables for which there are records."""
    made = (_correlations(records), _curve(records), _heads(records), _patterns(records), _syntax(records),
            _similarity(records), _neurons(records))  # fmt: skip
    return [found for found in made if found is not None]


def inspection_plots(records: Sequence[Record]) -> dict[str, Plot]:
    """Short name -> plot: importance by layer and head, masking curve, similarity of layers."""
    plots: dict[str, Plot] = {}
    for order in _values(_of(records, "importance"), "variant"):
        plots[f"importance-{order}"] = _grid(records, "importance", order)
    if points := _of(records, "masked_loss"):
        plots["masking"] = masking_plot(points)
    for name in ("entropy_share", "distance", "special"):
        if _of(records, name):
            plots[f"attention-{name}"] = _grid(records, name, "attention")
    for measure in _values(_of(records, "similarity"), "variant"):
        plots[f"similarity-{measure}"] = similarity_plot(records, measure)
    for record in records:
        if record.suite == SUITE and "by_layer" in record.detail:
            rows = [Bar(f"layer {layer}", float(count)) for layer, count in enumerate(record.detail["by_layer"])]
            words = f"of the {record.detail['counted']} best neurons for {record.task}"
            plots[f"neurons-{record.task}"] = bars(rows, x_label=words, write="{:.0f}".format)
    return plots


def inspection_page(model: str, records: Sequence[Record]) -> str:
    """A self-contained page."""
    blocks = [section(name.replace("-", ": "), figure(plot)) for name, plot in inspection_plots(records).items()]
    blocks += [section(found.title, table(found)) for found in inspection_tables(records)]
    return page(f"Inside {model}", eyebrow="Inspection", lead=[], blocks=blocks)


def masking_plot(points: Sequence[Record]) -> Plot:
    """Loss against the share of heads removed, one line per order, with intervals."""
    orders = _values(points, "variant")

    def draw(axes: Any, colours: Colours) -> None:
        for order, colour in zip(orders, _cycle(colours), strict=False):
            own = sorted((r for r in points if r.variant == order), key=lambda r: r.detail["share"])
            shares = [100 * r.detail["share"] for r in own]
            dashed = "--" if orders.index(order) >= len(colours.series) else "-"
            axes.plot(shares, [r.value for r in own], color=colour, lw=1.5, ls=dashed, label=order)
            axes.fill_between(shares, [r.low for r in own], [r.high for r in own], color=colour, alpha=0.12, lw=0)
        axes.set_xlabel("heads removed, %", color=colours.muted)
        axes.set_ylabel("1 − cosine", color=colours.muted)
        axes.grid(True, color=colours.grid, lw=0.7)
        axes.tick_params(colors=colours.muted, labelcolor=colours.ink, length=0)
        axes.legend(frameon=False, labelcolor=colours.ink, fontsize=7)
        for side in axes.spines.values():
            side.set_visible(False)

    return Plot(draw, f"loss against heads removed, in the orders {', '.join(orders)}", 3.0)


def similarity_plot(records: Sequence[Record], measure: str) -> Plot:
    """Heat map of layers against the other model's layers."""
    found = [r for r in _of(records, "similarity") if r.variant == measure]
    rows = sorted({int(r.task.removeprefix("layer_")) for r in found})
    columns = sorted({r.layer for r in found if r.layer is not None})
    cells = {(int(r.task.removeprefix("layer_")), r.layer): r.value for r in found}
    best = [max(columns, key=lambda c: cells.get((row, c)) or 0.0) for row in rows]
    against = found[0].detail.get("against", "")
    return heatmap(
        [[cells.get((row, column)) for column in columns] for row in rows],
        rows=[str(row) for row in rows],
        columns=[str(column) for column in columns],
        x_label=f"layer of {against}",
        y_label=f"layer of {found[0].model}",
        alt=f"{measure} of the layers of {found[0].model} and {against}",
        low=0.0,
        high=1.0,
        marks=[columns.index(column) for column in best],
    )


def _grid(records: Sequence[Record], metric: str, variant: str) -> Plot:
    found = [r for r in _of(records, metric) if r.variant == variant and r.layer is not None]
    layers = sorted({r.layer for r in found if r.layer is not None})
    heads = sorted({r.task for r in found})
    cells = {(r.layer, r.task): r.value for r in found}
    return heatmap(
        [[cells.get((layer, head)) for head in heads] for layer in layers],
        rows=[str(layer) for layer in layers],
        columns=[str(int(head.removeprefix("head_"))) for head in heads],
        x_label="head",
        y_label="layer",
        alt=f"{metric} ({variant}) of every head",
        write=lambda value: significant(value, 2),
    )


def _correlations(records: Sequence[Record]) -> Table | None:
    found = _of(records, "rank_correlation")
    if not found:
        return None
    orders = _values(found, "variant")
    cells = {(r.variant, r.detail["against"]): r.value for r in found}
    rows = [Row((Cell(a), *(_number(cells.get((a, b))) for b in orders))) for a in orders]
    note = "Spearman's correlation over all heads"
    return Table("Do the orders of heads agree", ("order", *orders), tuple(rows), (note,))


def _curve(records: Sequence[Record]) -> Table | None:
    found = _of(records, "masked_loss")
    if not found:
        return None
    shares = sorted({r.detail["share"] for r in found})
    cells = {(r.variant, r.detail["share"]): r for r in found}
    rows = []
    for order in _values(found, "variant"):
        line = []
        for share in shares:
            record = cells.get((order, share))
            spread = "" if record is None else f"{record.low:.3f}–{record.high:.3f}"
            line.append(ABSENT if record is None or record.value is None else Cell(f"{record.value:.3f}", spread))
        rows.append(Row((Cell(order), *line)))
    note = "1 − cosine of the centred sentence vectors to the whole model's, 95 % interval over texts"
    columns = ("removed", *(f"{100 * share:.0f} %" for share in shares))
    return Table("Masking heads, the least important first", columns, tuple(rows), (note,))


def _heads(records: Sequence[Record]) -> Table | None:
    found = _of(records, "importance")
    if not found:
        return None
    orders = _values(found, "variant")
    cells = {(r.layer, r.task, r.variant): r.value or 0.0 for r in found}
    places = sorted({(r.layer, r.task) for r in found}, key=lambda p: -cells.get((*p, orders[0]), 0.0))
    rows = [
        Row((Cell(f"layer {layer}, head {int(task.removeprefix('head_'))}"),
             *(_number(cells.get((layer, task, order))) for order in orders)))
        for layer, task in places[:_MOST_HEADS]
    ]  # fmt: skip
    return Table(
        f"The {len(rows)} most important of {len(places)} heads by {orders[0]}", ("head", *orders), tuple(rows)
    )


def _patterns(records: Sequence[Record]) -> Table | None:
    found = [r for r in records if r.suite == SUITE and r.variant == "attention" and r.layer is not None]
    if not found:
        return None
    names = _values(found, "metric")
    rows = []
    for layer in sorted({r.layer for r in found if r.layer is not None}):
        line = []
        for name in names:
            own = [r.value or 0.0 for r in found if r.layer == layer and r.metric == name]
            line.append(Cell(significant(sum(own) / len(own)), f"{significant(min(own))}–{significant(max(own))}"))
        rows.append(Row((Cell(f"layer {layer}"), *line)))
    note = "mean over the heads of a layer, and its least and greatest head; intervals of every head are in the records"
    return Table("What heads attend to", ("layer", *names), tuple(rows), (note,))


def _syntax(records: Sequence[Record]) -> Table | None:
    found = _of(records, "syntax_share")
    if not found:
        return None
    rows = [
        Row((
            Cell(f"{r.detail['relation']}, to the {r.detail['direction']}"),
            Cell(f"{r.layer} / {r.detail['head']}"),
            Cell(f"{r.value:.2f}", f"{r.low:.2f}–{r.high:.2f}"),
            Cell(f"{r.detail['offset_share']:.2f}"),
            Cell(str(r.n)),
        ))
        for r in found
    ]  # fmt: skip
    note = "share of words whose most attended word is the right one; the best head is chosen on the same sentences"
    columns = ("relation", "layer / head", "share", "best fixed offset", "words")
    return Table("Heads that follow syntax", columns, tuple(rows), (note,))


def _similarity(records: Sequence[Record]) -> Table | None:
    found = _of(records, "similarity")
    if not found:
        return None
    rows = []
    for measure in _values(found, "variant"):
        for task in _values([r for r in found if r.variant == measure], "task"):
            own = [r for r in found if r.variant == measure and r.task == task]
            best = max(own, key=lambda r: r.value or 0.0)
            spread = "" if best.low is None or best.high is None else f"{best.low:.3f}–{best.high:.3f}"
            cells = (Cell(measure), Cell(str(best.layer)), Cell(f"{best.value:.3f}", spread))
            rows.append(Row((Cell(task.replace("_", " ")), *cells)))
    against = found[0].detail.get("against")
    columns = (f"layer of {found[0].model}", "measure", f"most alike layer of {against}", "similarity")
    return Table("Similarity of layers", columns, tuple(rows))


def _neurons(records: Sequence[Record]) -> Table | None:
    found = [r for r in records if r.suite == SUITE and r.variant == "neurons"]
    if not found:
        return None
    rows = [Row((Cell(r.task), Cell(r.metric.replace("_", " ")), _with_interval(r))) for r in found]
    spread = [str(r.detail["by_layer"]) for r in found if "by_layer" in r.detail]
    notes = tuple(f"top neurons by layer, embeddings first: {line}" for line in spread)
    return Table("Single neurons", ("task", "accuracy of", "value"), tuple(rows), notes)


def _with_interval(record: Record) -> Cell:
    spread = "" if record.low is None or record.high is None else f"{record.low:.3f}–{record.high:.3f}"
    return ABSENT if record.value is None else Cell(f"{record.value:.3f}", spread)


def _number(value: float | None) -> Cell:
    return ABSENT if value is None else Cell(f"{value:.3f}".replace("-", "−"))


def _of(records: Iterable[Record], metric: str) -> list[Record]:
    return [r for r in records if r.suite == SUITE and r.metric == metric]


def _values(records: Iterable[Record], attribute: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(record, attribute)) for record in records))


def _cycle(colours: Colours) -> list[str]:
    return [*colours.series, *colours.series]
