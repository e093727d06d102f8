"""Everything that was measured on several models, as tables for the terminal and as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slonik.compression.report.compression import drawn
from slonik.core.atomic import write_bytes, write_text
from slonik.core.records import Record
from slonik.evaluation.russian_superglue.category_tables import category_tables
from slonik.reporting import page, plots
from slonik.reporting.canvas import Plot
from slonik.reporting.collect import Results
from slonik.reporting.figures import write
from slonik.reporting.leaderboard import order_tables, rank_tables
from slonik.reporting.lineage import lineage_table
from slonik.reporting.morocco import morocco_table, warnings_of
from slonik.reporting.resources import contender, headlines, resources_tables
from slonik.reporting.scores import SHOWN_WHOLE, difference_tables, is_difference, is_published, score_tables
from slonik.reporting.table import Table
from slonik.reporting.trade_offs import TradeOff, disc_points, morocco_points, pareto_table, trade_offs

_MAIN_COSTS = ("ms per text", "bytes on disk")


def overview_tables(results: Results) -> list[Table]:
    """All tables that the records fill, in order: scores, ranks, differences, speed, MOROCCO, Pareto front."""
    records = results.records
    boards = [record for record in records if record.suite in SHOWN_WHOLE]
    tables = [
        *score_tables(records),
        *rank_tables(boards),
        *difference_tables(records),
        *order_tables(records),
        *category_tables(records),
        *resources_tables(records),
    ]
    if any(record.suite == "morocco" for record in records):
        tables.append(morocco_table(records))
    if found := trade_offs(records):
        tables.append(pareto_table(found))
    return [table for table in tables if table.rows]


def overview_plots(results: Results) -> dict[str, Plot]:
    """Name -> plot, of what the records allow: pareto_*, morocco_discs, discs, speed."""
    records = results.records
    found: dict[str, Plot | None] = {}
    for trade in trade_offs(records):
        if trade.cost in _MAIN_COSTS:
            name = f"pareto_{trade.score.split(': ')[-1]}_against_{trade.cost.replace(' ', '_')}"
            found.setdefault(name, drawn(lambda trade=trade: _pareto(trade)))
    if points := morocco_points(records):
        found["morocco_discs"] = drawn(
            lambda: plots.discs(
                points, x_label="records per second", y_label="Russian SuperGLUE score", area_label=_gib
            )
        )
    score_name, others = disc_points(records)
    if others:
        found["discs"] = drawn(
            lambda: plots.discs(others, x_label="texts per second", y_label=score_name, area_label=_gib)
        )
    if bars := _speed_bars(records):
        found["speed"] = drawn(
            lambda: plots.bars(bars, x_label="ms per text, batch 1", write=lambda value: write("ms_per_text", value))
        )
    return {name: plot for name, plot in found.items() if plot is not None}


def overview(results: Results, *, title: str = "Results", path: str | Path | None = None) -> str:
    """One self-contained HTML page of all tables and plots; written to `path` too where one is given.

    Raises:
        SlonikError: `path` cannot be written.
    """
    drawings = overview_plots(results)
    own = [record for record in results.records if not is_published(record)]
    names = list(dict.fromkeys(record.model for record in own if not is_difference(record)))
    lead = [f"{len(own)} figures of {len(names)} model{'s' if len(names) != 1 else ''}: {', '.join(names)}."]
    blocks = [
        page.section("Side by side", *(page.paragraph(line) for line in headlines(results.records))),
        *(page.section(table.title, page.table(table)) for table in overview_tables(results)),
        page.split(*(page.section(plot_title(name), page.figure(plot)) for name, plot in drawings.items())),
        _doubts(results.records),
        *(
            page.section(f"Lineage of {passport.name}", page.table(lineage_table(passport.lineage)))
            for passport in results.passports
            if passport.lineage
        ),
    ]
    html = page.page(title, eyebrow="slonik report", lead=lead, blocks=blocks)
    if path is not None:
        write_text(path, html)
    return html


def write_plots(results: Results, folder: str | Path) -> list[Path]:
    """Write every plot as PNG into `folder`; the files."""
    written = []
    for name, plot in overview_plots(results).items():
        path = Path(folder) / f"{name}.png"
        write_bytes(path, plot.png)
        written.append(path)
    return written


def plot_title(name: str) -> str:
    """A plot's heading."""
    titles = {
        "morocco_discs": "Speed, score and memory (MOROCCO)",
        "discs": "Speed, score and memory",
        "speed": "Milliseconds per text",
    }
    if name in titles:
        return titles[name]
    score, cost = name.removeprefix("pareto_").split("_against_")
    return f"Pareto front: {score} against {cost.replace('_', ' ')}"


def _pareto(trade: TradeOff) -> Plot:
    scale, unit = (1e6, ", MB") if trade.metric == "bytes" else (1.0, "")
    points = [plots.Point(p.label, p.x / scale, p.y, front=p.front) for p in trade.points]
    return plots.pareto(points, x_label=trade.cost + unit, y_label=trade.score, less_x_is_better=trade.less_is_better)


def _speed_bars(records: Sequence[Record]) -> list[plots.Bar]:
    found = [r for r in records if (r.suite, r.metric) == ("resources", "ms_per_text") and r.value is not None]
    machines = {(r.detail.get("machine"), r.detail.get("threads")) for r in found}
    if len(found) < 2 or len(machines) > 1:
        return []
    return [plots.Bar(contender(r), float(r.value or 0), r.low, r.high) for r in found]


def _gib(value: float) -> str:
    return f"{value:.1f}gb" if value >= 0.1 else f"{1024 * value:.0f}mb"


def _doubts(records: Sequence[Record]) -> str:
    sentences = warnings_of(records)
    return page.section("Doubts", *(page.paragraph(sentence) for sentence in sentences)) if sentences else ""
