"""The report of one compression: what was gained, what it cost, how it was done; as tables and as one HTML page.

Reads records and plain facts only; the tables are those of `tables`, the forecast that of `curve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.compression.chosen import Choice
from slonik.compression.report.curve import CurvePoint, forecast
from slonik.compression.report.tables import (
    COSTS,
    Names,
    Stage,
    cost_table,
    find_score,
    is_own_score,
    main_difference,
    quality_tables,
    resource_value,
    speed_gain,
    stages_table,
    verdict,
    vocabulary_table,
)
from slonik.core.files import write_text
from slonik.core.passport import Step
from slonik.core.records import Record
from slonik.reporting import page, plots
from slonik.reporting.formatting import count, duration, share, significant, size
from slonik.reporting.model_card import lineage_table
from slonik.reporting.scores import title_of
from slonik.reporting.table import Table

_TILES = (("size", "parameters"), ("size", "bytes"), ("size", "flops_per_text"))


@dataclass(frozen=True)
class CompressionFacts:
    """What the report tells beside the records.

    Attributes:
        before, after: names of the two models.
        lineage: steps of the new model's passport, oldest first.
        seconds: step of the recipe -> how long it took.
        trimming: the trimmer's report as plain data (pieces_before, pieces_after, held_out, ...).
        curve: held-out metrics during training.
        curve_unit: unit of their compute: seconds, texts, tokens or FLOPs.
        chosen: what chose the checkpoint; None where nothing was trained.
        commands: lines that do it all again.
        usage: a few lines of Python or shell that use the result.
        notes: sentences for the reader (what was not reached, what to mind).
        published: rows measured by others, as records with detail {"published": true}.
        stages: models on the way, for the table of what each part gained and cost.
    """

    before: str
    after: str
    lineage: Sequence[Step] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    trimming: Mapping[str, Any] | None = None
    curve: Sequence[CurvePoint] = ()
    curve_unit: str = "seconds"
    chosen: Choice | None = None
    commands: Sequence[str] = ()
    usage: str = ""
    notes: Sequence[str] = ()
    published: Sequence[Record] = ()
    stages: Sequence[Stage] = ()

    @property
    def names(self) -> Names:
        """Names and published rows, as the tables want them."""
        return Names(self.before, self.after, self.published)


def compression_page(
    before: Sequence[Record],
    after: Sequence[Record],
    facts: CompressionFacts,
    *,
    differences: Sequence[Record] = (),
    path: str | Path | None = None,
) -> str:
    """The report as one self-contained HTML page; written to `path` too where one is given.

    Args:
        before, after: everything measured on the original and on the result, the same way.
        differences: paired differences, after minus before, with their intervals.

    Raises:
        SlonikError: `path` cannot be written.
    """
    names = facts.names
    costs, steps = cost_table(before, after, names), stages_table(facts.stages)
    scores = quality_tables(before, after, differences, names)
    blocks = [
        page.tiles(_tiles(before, after, differences)),
        page.section(steps.title, page.table(steps)) if steps.rows else "",
        page.section("Size, speed and memory", page.table(costs)) if costs.rows else "",
        *(page.section(table.title, page.table(table), _score_plot(table, before, after, facts)) for table in scores),
        _training(facts),
        _vocabulary(facts),
        page.section("How to use it", page.code(facts.usage)) if facts.usage else "",
        page.section("Do it again", page.code("\n".join(facts.commands))) if facts.commands else "",
        page.section("Lineage", page.table(lineage_table(facts.lineage))) if facts.lineage else "",
    ]
    title = f"{facts.after}, made from {facts.before}"
    html = page.page(
        title,
        eyebrow="slonik compression report",
        lead=[verdict(before, after, differences), *facts.notes],
        blocks=blocks,
    )
    if path is not None:
        write_text(path, html)
    return html


def compression_tables(
    before: Sequence[Record], after: Sequence[Record], facts: CompressionFacts, differences: Sequence[Record] = ()
) -> list[Table]:
    """The same report's tables, for the terminal."""
    names = facts.names
    tables = [
        stages_table(facts.stages),
        cost_table(before, after, names),
        *quality_tables(before, after, differences, names),
    ]
    if facts.trimming:
        tables.append(vocabulary_table(facts.trimming))
    return [table for table in tables if table.rows]


def _tiles(before: Sequence[Record], after: Sequence[Record], differences: Sequence[Record]) -> list[page.Tile]:
    found = []
    for key in _TILES:
        old, new = resource_value(before, key), resource_value(after, key)
        if old and new:
            write = size if key[1] == "bytes" else count
            found.append(page.Tile(COSTS[key][0], share(old, new), f"{write(old)} → {write(new)}"))
    found += _speed_tile(before, after)
    main = main_difference(before, after, differences)
    if main is not None:
        task, value, spread, old, new = main
        found.append(page.Tile(task.split(" ")[0], value, f"{spread} {old:.4f} → {new:.4f}".strip()))
    return found


def _speed_tile(before: Sequence[Record], after: Sequence[Record]) -> list[page.Tile]:
    gain = speed_gain(before, after)
    if gain is None:
        return []
    if gain.ratio is None:
        return [page.Tile("ms per text", "not to be trusted", gain.doubt)]
    metric = "cpu_ms_per_text" if gain.doubt else "ms_per_text"
    old, new = (resource_value(records, ("batch_1", metric)) for records in (before, after))
    words = share(gain.ratio, 1) if gain.sure else "no sure difference"
    name = COSTS["batch_1", "ms_per_text"][0] if not gain.doubt else "processor's ms per text, batch 1"
    return [page.Tile(name, words, f"{significant(old)} → {significant(new)}" if old and new else "")]


def _score_plot(table: Table, before: Sequence[Record], after: Sequence[Record], facts: CompressionFacts) -> str:
    pairs: dict[str, tuple[plots.Bar, plots.Bar]] = {}
    for new in after:
        if not is_own_score(new) or title_of(new.suite, new.variant) != table.title or new.value is None:
            continue
        old = find_score(before, new.suite, new.variant, (new.task, new.metric))
        if old is not None and old.value is not None:
            name = new.task if new.task not in pairs else f"{new.task} {new.metric}"
            pairs[name] = (
                plots.Bar(facts.before, old.value, old.low, old.high),
                plots.Bar(facts.after, new.value, new.low, new.high),
            )
    if len(pairs) < 2:
        return ""
    return page.figure(plots.drawn(lambda: plots.before_after(pairs, labels=(facts.before, facts.after))))


def _training(facts: CompressionFacts) -> str:
    if not facts.curve:
        return ""
    names = [name for name in facts.curve[-1].metrics if 0 <= facts.curve[-1].metrics[name] <= 1]
    metric = facts.chosen.metric if facts.chosen is not None else "agreement"
    names.sort(key=lambda name: name != metric)
    points = facts.curve
    unit, scale = ("minutes", 60.0) if facts.curve_unit == "seconds" else (facts.curve_unit, 1.0)
    shown = {name: [(p.compute / scale, p.metrics[name]) for p in points if name in p.metrics] for name in names}
    drawing = plots.drawn(lambda: plots.curve(shown, x_label=f"training compute, {unit}"))
    words = forecast(points, metric, facts.curve_unit) if metric in names else ""
    if facts.seconds:
        spent = ", ".join(f"{name} {duration(seconds)}" for name, seconds in facts.seconds.items())
        words = f"{words} Time by step: {spent}.".strip()
    caption = "Held-out agreement with the teacher against training compute."
    if facts.chosen is not None:
        caption += f" {facts.chosen.sentence()}"
    return page.section("Training", page.figure(drawing, caption), page.paragraph(words) if words else "")


def _vocabulary(facts: CompressionFacts) -> str:
    if not facts.trimming:
        return ""
    return page.section("Vocabulary", page.table(vocabulary_table(facts.trimming)))
