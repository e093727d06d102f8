"""What `slonik inspect` found, drawn from its records: tables, plots, a page; and an interactive page of one text.

Records of the suite "inspection": `layer` counts from 1 (0 = embeddings), a head's number is the task "head_NN".

What one text does in a model is drawn by `text_page`; everything is made from records, so that `slonik report` can make
the same page again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from slonik.core.records import Record
from slonik.inspection import SUITE
from slonik.inspection.text_page import has_text, text_page
from slonik.inspection.text_tables import text_tables
from slonik.inspection.twin import is_twin
from slonik.reporting.formatting import cell, significant
from slonik.reporting.page import figure, page, section, table
from slonik.reporting.plots import Bar, Colours, Plot, bars, dress
from slonik.reporting.table import Cell, Table

_MOST_HEADS = 12
_FEW_TEXTS, _WIDE = 100, 0.1  # where a similarity says little
_MOST_WRITTEN = 220  # cells of a heat map that have room for their values


def inspection_tables(records: Sequence[Record]) -> list[Table]:
    """All tables for which there are records."""
    made = (_correlations(records), _curve(records), _heads(records), _patterns(records), _syntax(records),
            _similarity(records), _neurons(records), _task_curve(records), _usage(records))  # fmt: skip
    return [*text_tables(records), *(found for found in made if found is not None)]


def inspection_plots(records: Sequence[Record]) -> dict[str, Plot]:
    """Short name -> plot: importance by layer and head, masking curve, similarity of layers, without twins."""
    plots: dict[str, Plot] = {}
    records = _own(records)
    for order in names(_of(records, "importance"), "variant"):
        plots[f"importance-{order}"] = _head_map(records, "importance", order)
    if points := _of(records, "masked_loss"):
        plots["masking"] = _masking_plot(points)
    for name in ("entropy_share", "distance", "special"):
        if _of(records, name):
            plots[f"attention-{name}"] = _head_map(records, name, "attention")
    for measure in names(_of(records, "similarity"), "variant"):
        plots[f"similarity-{measure}"] = _similarity_plot(records, measure)
    for record in records:
        if record.suite == SUITE and "by_layer" in record.detail:
            rows = [Bar(f"layer {layer}", float(count)) for layer, count in enumerate(record.detail["by_layer"])]
            words = f"of the {record.detail['counted']} best neurons for {record.task}"
            plots[f"neurons-{record.task}"] = bars(rows, x_label=words, write="{:.0f}".format)
    return plots


def inspection_page(model: str, records: Sequence[Record]) -> str:
    """A self-contained page from records alone; what was found on a text is interactive, the rest stands below."""
    on_text = text_tables(records)
    shown = [found for found in inspection_tables(records) if found not in on_text]
    blocks = [section(found.title, table(found)) for found in shown]
    blocks += [section(name.replace("-", ": "), figure(plot)) for name, plot in inspection_plots(records).items()]
    if has_text(records):
        return text_page(f"Inside {model}", records, extra="\n".join(blocks))
    return page(f"Inside {model}", eyebrow="Inspection", lead=[], blocks=blocks)


def _masking_plot(points: Sequence[Record]) -> Plot:
    """Loss against the share of heads removed, one line per order, with intervals."""
    orders = list(names(points, "variant"))

    def draw(axes: Any, colours: Colours) -> None:
        for place, (order, colour) in enumerate(zip(orders, 2 * colours.series, strict=False)):
            own = sorted((r for r in points if r.variant == order), key=lambda r: r.detail["share"])
            shares = [100 * r.detail["share"] for r in own]
            dashed = "--" if place >= len(colours.series) else "-"
            axes.plot(shares, [r.value for r in own], color=colour, lw=1.5, ls=dashed, label=order)
            axes.fill_between(shares, [r.low for r in own], [r.high for r in own], color=colour, alpha=0.12, lw=0)
        dress(axes, colours, "heads removed, %", "1 − cosine")
        axes.legend(frameon=False, labelcolor=colours.ink, fontsize=7)

    return Plot(draw, f"loss against heads removed, in the orders {', '.join(orders)}", 3.0)


def _similarity_plot(records: Sequence[Record], measure: str) -> Plot:
    """Heat map of layers against the other model's layers."""
    found = [r for r in _of(records, "similarity") if r.variant == measure]
    rows = sorted({int(r.task.removeprefix("layer_")) for r in found})
    columns = sorted({r.layer for r in found if r.layer is not None})
    cells = {(int(r.task.removeprefix("layer_")), r.layer): r.value for r in found}
    best = [max(columns, key=lambda c: cells.get((row, c), -1.0) or 0.0) for row in rows]
    against = found[0].detail.get("against", "")
    return heatmap(
        [[cells.get((row, column)) for column in columns] for row in rows],
        rows=[str(row) for row in rows],
        columns=[str(column) for column in columns],
        x_label=f"layer of {against}; rows: of {found[0].model}",  # beside few rows a name has no room
        y_label="layer",
        alt=f"{measure} of the layers of {found[0].model} and {against}",
        low=0.0,
        high=1.0,
        marks=[columns.index(column) for column in best],
    )


def _head_map(records: Sequence[Record], metric: str, variant: str) -> Plot:
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


def heatmap(
    values: Sequence[Sequence[float | None]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x_label: str = "",
    y_label: str = "",
    alt: str,
    write: Callable[[float], str] = "{:.2f}".format,
    low: float | None = None,
    high: float | None = None,
    marks: Sequence[int | None] = (),
) -> Plot:
    """A grid of cells, darker where the value is greater; values are written where there is room.

    Args:
        values: one sequence per row; None leaves a cell empty.
        low, high: ends of the colour scale; None = the least and greatest value.
        marks: per row the column that gets a frame (the best layer), or None.
    """
    known = [value for line in values for value in line if value is not None]
    bottom = min(known, default=0.0) if low is None else low
    top = max(known, default=1.0) if high is None else high

    def draw(axes: Any, colours: Colours) -> None:
        from matplotlib.patches import Rectangle

        written = len(rows) * len(columns) <= _MOST_WRITTEN
        long = len(columns) > 4 and max(map(len, columns), default=0) > 4
        size = 6.5 if len(columns) <= 9 else 5.2 if len(columns) <= 14 else 4.2
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                if value is None:
                    continue
                share = 0.0 if top <= bottom else min(1.0, max(0.0, (value - bottom) / (top - bottom)))
                axes.add_patch(
                    Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colours.series[0], alpha=0.06 + 0.94 * share, lw=0)
                )
                if written:
                    ink = colours.surface if share > 0.55 else colours.ink
                    axes.text(x, y, write(value), ha="center", va="center", fontsize=size, color=ink)
            if y < len(marks) and (mark := marks[y]) is not None:
                axes.add_patch(Rectangle((mark - 0.48, y - 0.48), 0.96, 0.96, fill=False, lw=1.2,
                                         edgecolor=colours.series[1]))  # fmt: skip
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), list(columns), fontsize=7, rotation=90 if long else 0)
        axes.set_yticks(range(len(rows)), list(rows), fontsize=7)
        dress(axes, colours, x_label, y_label, grid="")

    return Plot(draw, alt, 0.9 + max(1.0, 0.24 * len(rows)))


def _correlations(records: Sequence[Record]) -> Table | None:
    found = _of(records, "rank_correlation")
    orders = names(found, "variant")
    cells = {(r.variant, r.detail["against"]): r.value for r in found}
    note = "Spearman's correlation over all heads"
    return _grid_table(
        "Do the orders of heads agree", "order", orders, orders, lambda a, b: _number(cells.get((a, b))), [note]
    )


def _curve(records: Sequence[Record]) -> Table | None:
    found = _of(records, "masked_loss")
    shares = {r.detail["share"]: f"{100 * r.detail['share']:.0f} %" for r in found}
    cells = {(r.variant, r.detail["share"]): r for r in found}
    note = "1 − cosine of the centred sentence vectors to the whole model's, 95 % interval over texts"
    return _grid_table(
        "Masking heads, the least important first", "removed", names(found, "variant"), dict(sorted(shares.items())),
        lambda order, share: cell(cells.get((order, share))), [note],
    )  # fmt: skip


def _heads(records: Sequence[Record]) -> Table | None:
    found = _of(records, "importance")
    orders = names(found, "variant")
    cells = {(r.layer, r.task, r.variant): r.value or 0.0 for r in found}
    places = sorted({(r.layer, r.task) for r in found}, key=lambda p: -cells.get((*p, next(iter(orders))), 0.0))
    shown = {place: f"layer {place[0]}, head {int(place[1].removeprefix('head_'))}" for place in places[:_MOST_HEADS]}
    title = f"The {len(shown)} most important of {len(places)} heads by {next(iter(orders), '')}"
    return _grid_table(title, "head", shown, orders, lambda place, order: _number(cells.get((*place, order))))


def _patterns(records: Sequence[Record]) -> Table | None:
    found = [r for r in records if r.suite == SUITE and r.variant == "attention" and r.layer is not None]
    own = _own(found)
    layers: dict[int | None, str] = {r.layer: f"layer {r.layer}" for r in sorted(own, key=lambda r: r.layer or 0)}
    if twins := _twins(found):
        layers[None] = "random weights, all layers"

    def of_layer(layer: int | None, metric: str) -> Cell:
        chosen = twins if layer is None else [r for r in own if r.layer == layer]
        values = [r.value or 0.0 for r in chosen if r.metric == metric]
        ends = f"[{significant(min(values), 2)}, {significant(max(values), 2)}]"  # short: the table has eight columns
        return Cell(significant(sum(values) / len(values)), ends)

    note = "mean over the heads of a layer, and its least and greatest head; intervals of every head are in the records"
    return _grid_table("What heads attend to", "layer", layers, names(own, "metric"), of_layer, [note])


def _syntax(records: Sequence[Record]) -> Table | None:
    found = _of(records, "syntax_share")
    if not found:
        return None
    beside = {"offset_share": "best fixed offset", "random_share": "random weights", "chance_share": "chance"}
    if all(r.detail.get("random_share") is None for r in found):
        del beside["random_share"]
    lines = [
        (f"{r.detail['relation']}, to the {r.detail['direction']}", f"{r.layer} / {r.detail['head']}", cell(r),
         *(_number(r.detail.get(name)) for name in beside), r.n)
        for r in found
    ]  # fmt: skip
    columns = ("relation", "layer / head", "share", *beside.values(), "words")
    notes = ["share of words whose most attended word is the right one; the best head is chosen on the same sentences, "
             "in the twin with random weights too"]  # fmt: skip
    facts = found[0].detail
    if skipped := facts.get("skipped"):
        reasons = ", ".join(f"{reason} {count}" for reason, count in skipped.items())
        total = facts["sentences"] + sum(skipped.values())
        notes.append(f"{sum(skipped.values())} of {total} sentences were left out: {reasons}")
    if unseen := {r.detail["direction"]: r.detail["unseen"] for r in found if r.detail["relation"] == "any"}:
        shares = ", ".join(f"{100 * share:.0f} % to the {direction}" for direction, share in unseen.items() if share)
        if shares:
            notes.append(
                f"words whose goal stands later, where no head of a decoder can look, are never right: {shares}"
            )
    return Table.of("Heads that follow syntax", columns, lines, notes)


def _similarity(records: Sequence[Record]) -> Table | None:
    everything = _of(records, "similarity")
    if not everything:
        return None
    found, twins = _own(everything), _twins(everything)
    lines = []
    for measure in names(found, "variant"):
        own = [r for r in found if r.variant == measure]
        best = [max((r for r in own if r.task == task), key=_value) for task in names(own, "task")]
        lines += [_similarity_line(record, record.task.replace("_", " "), measure) for record in best]
        if others := [r for r in twins if r.variant == measure]:
            record = max(others, key=_value)
            lines.append(_similarity_line(record, f"random weights, {record.task.replace('_', ' ')}", measure))
    columns = (f"layer of {found[0].model}", "measure", f"most alike layer of {found[0].detail.get('against')}",
               "similarity", "floor")  # fmt: skip
    notes = [f"{found[0].n} different texts; floor: the same with the second model's texts shuffled, mean and greatest "
             "of ten; interval and likely layers of cka from halves of the texts"]  # fmt: skip
    wide = [r for r in found if r.low is not None and r.high is not None and r.high - r.low > _WIDE]
    if wide or (found[0].n or 0) < _FEW_TEXTS:
        notes.append(
            f"{found[0].n} texts are too few to compare figures that differ by less than their intervals or the floor: "
            "give more by --texts"
        )
    if twins:
        notes.append("random weights: of the layers of the same model with random weights the one that is most alike")
    return Table.of("Similarity of layers", columns, lines, notes)


def _similarity_line(best: Record, name: str, measure: str) -> tuple[str | Cell | None, ...]:
    ends = best.detail.get("layer_low"), best.detail.get("layer_high")
    where = Cell(str(best.layer), "" if None in ends else f"[{ends[0]}, {ends[1]}]")
    floor = best.detail.get("floor")
    over = None if floor is None else Cell(f"{floor:.3f}", f"at most {best.detail['floor_high']:.3f}")
    return name, measure, where, cell(best), over


def _neurons(records: Sequence[Record]) -> Table | None:
    found = [r for r in records if r.suite == SUITE and r.variant == "neurons"]
    own, twins = _own(found), {(r.task, r.metric): r for r in _twins(found)}
    lines: list[list[Cell | str | None]] = [[r.task, r.metric.replace("_", " "), cell(r)] for r in own]
    if twins:
        for line, r in zip(lines, own, strict=True):
            line.append(cell(twins.get((r.task, r.metric))))
    notes = []
    for record in (r for r in own if "by_layer" in r.detail):
        facts = record.detail
        notes.append(f"{facts['nonzero']} of {facts['neurons']} neurons have any weight; only these are ranked")
        if (twin := twins.get((record.task, record.metric))) is not None:
            notes[-1] += f"; with random weights {twin.detail['nonzero']}"
        notes.append(f"the first {facts['counted']} by layer, embeddings first: {facts['by_layer']}")
        kept = [f"{100 * mean:.0f} % ({100 * least:.0f} to {100 * most:.0f}) of the first {k}"
                for k, (least, mean, most) in facts["stability"].items()]  # fmt: skip
        if kept:
            notes.append(f"named again by {facts['resamples']} resamples of the training sentences: {', '.join(kept)}")
    columns = ("task", "accuracy of", "value", *(["random weights"] if twins else []))
    return Table.of("Single neurons", columns, lines, notes) if own else None


def _task_curve(records: Sequence[Record]) -> Table | None:
    found = [r for r in records if r.suite == SUITE and r.metric in ("task_loss", "task_right")]
    metrics = {"task_loss": "loss", "task_right": "right"}
    columns = {(r.variant, r.metric): f"{r.variant}: {metrics[r.metric]}" for r in found}
    shares = {r.detail["share"]: f"{100 * r.detail['share']:.0f} %" for r in found}
    cells = {(r.detail["share"], r.variant, r.metric): r for r in found}
    note = "loss of the model's own task and share of right answers on labelled rows that made no order; 95 % intervals"
    return _grid_table(
        "Heads taken out of a fine-tuned model, the least important first", "removed", dict(sorted(shares.items())),
        columns, lambda share, column: cell(cells.get((share, *column))), [note],
    )  # fmt: skip


def _usage(records: Sequence[Record]) -> Table | None:
    ways = ("whole", "erased", "shuffled")
    found = [r for r in records if r.suite == SUITE and "erased_directions" in r.detail]
    found = [r for r in found if r.variant in ways]
    rows = {(r.task, r.layer, r.metric): (r.task, str(r.layer), r.metric.replace("_", " ")) for r in found}
    cells = {(r.task, r.layer, r.metric, r.variant): r for r in found}
    columns = {"whole": "whole model", "erased": "property erased", "shuffled": "shuffled property erased"}

    def written(row: tuple[str, int | None, str], way: str) -> Cell | None:
        if row[2].startswith("difference"):
            return cell(cells.get((*row, "erased"))) if way == "erased" else None
        return cell(cells.get((*row, way)))

    if not rows:
        return None
    notes = [
        "probe: accuracy on the layer's vectors, then on the last layer's; similarity kept: correlation of texts' "
        "similarities with the whole model's; hidden token loss in nats; difference: erased minus shuffled, paired"
    ]
    chances = {r.task: r.detail["majority"] for r in found if "majority" in r.detail}
    notes += [f"the commonest label of {task} is right in {chance:.3f}" for task, chance in chances.items()]
    return Table.grid("What is used: a property erased from a layer", ("property", "layer", "measure"), rows, columns,
                      written, notes=notes)  # fmt: skip


def _grid_table(
    title: str, corner: str, rows: dict[Any, str], columns: dict[Any, str], cell: Callable[[Any, Any], Cell | None],
    notes: Sequence[str] = (),
) -> Table | None:  # fmt: skip
    return Table.grid(title, corner, rows, columns, cell, notes=notes) if rows else None


def _own(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if not is_twin(record.model)]


def _twins(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if is_twin(record.model)]


def _value(record: Record) -> float:
    return -1.0 if record.value is None else record.value


def _number(value: float | None) -> Cell | None:
    return None if value is None else Cell(f"{value:.3f}".replace("-", "−"))


def _of(records: Iterable[Record], metric: str) -> list[Record]:
    return [r for r in records if r.suite == SUITE and r.metric == metric]


def names(records: Iterable[Record], attribute: str) -> dict[str, str]:
    """Distinct values of an attribute as rows or columns, in the order of the records."""
    return {str(getattr(record, attribute)): str(getattr(record, attribute)) for record in records}
