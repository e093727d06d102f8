"""What `slonik report` reads, results, run folders and sweeps, and shows: tables for the terminal, one HTML page.

A result file is a list of records (`--json`). A run folder is read through its `passport.json`, and through the
`records.json` of a compression where there is one. What cannot be compared is refused. No weights, corpora or
benchmark data are opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.files import write_bytes, write_text
from slonik.core.passport import FILE_NAME as PASSPORT_FILE
from slonik.core.passport import Passport
from slonik.core.records import Record, merge_records, read_records
from slonik.reporting import page, plots
from slonik.reporting.formatting import write
from slonik.reporting.model_card import lineage_table
from slonik.reporting.plots import Plot, drawn
from slonik.reporting.resources import headlines, morocco_table, resources_tables, system_name, warnings_of
from slonik.reporting.scores import (
    SHOWN_WHOLE,
    category_tables,
    difference_tables,
    is_difference,
    is_published,
    order_tables,
    rank_tables,
    score_tables,
)
from slonik.reporting.sweeps import SweepRow, is_sweep, read_sweep, sweep_tables
from slonik.reporting.table import Table
from slonik.reporting.trade_offs import TradeOff, disc_points, morocco_points, pareto_table, trade_offs

RECORDS_FILE = "records.json"
# Hashes that belong to the model; every other hash describes the task and must agree between models.
MODEL_HASHES = frozenset({"weights", "model", "tokenizer", "checkpoint", "code"})


@dataclass
class Results:
    """Everything that was read.

    Attributes:
        records: everything measured, a later file's replacing an earlier one's where the key is the same.
        passports: of the run folders, in the order given.
        sweeps: rows of the sweeps, in the order given.
        notices: what was put apart, and what a later file replaced.
    """

    records: list[Record] = field(default_factory=list)
    passports: list[Passport] = field(default_factory=list)
    sweeps: list[list[SweepRow]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def collect(paths: Sequence[str | Path], *, suites: Sequence[str] = ()) -> Results:
    """Read result files and run folders.

    Args:
        suites: take records of these only; none named = all.

    Raises:
        SlonikError: a path that is neither, a broken file, or records that cannot stand in one table.
    """
    results = Results()
    sources: list[tuple[str, list[Record]]] = []
    for path in map(Path, paths):
        if is_sweep(path):
            results.sweeps.append(read_sweep(path))
        elif path.is_dir():
            passport, records = _read_folder(path)
            if passport is not None:
                results.passports.append(passport)
            sources.append((str(path), records))
        else:
            sources.append((str(path), read_records(path)))
    if suites:
        wanted = {name.replace("-", "_") for name in suites}
        sources = [(where, [record for record in records if record.suite in wanted]) for where, records in sources]
    sources = _own_texts_apart(sources, results.notices)
    check_comparable(sources)
    for where, records in sources:
        results.notices += _replaced(results.records, records, where)
        results.records = list(merge_records(results.records, records))
    return results


# What is measured on texts that a run itself held out: other runs have others, and their figures tables of their own.
_ON_OWN_TEXTS = frozenset({"agreement", "adapt", "repetition", "pretrain"})


def _own_texts_apart(sources: Sequence[tuple[str, list[Record]]], notices: list[str]) -> list[tuple[str, list[Record]]]:
    """Records of suites that are measured on a run's own texts: their variant names the texts where they differ."""
    seen: dict[tuple[str, str, str, str], set[str]] = {}

    def place(record: Record) -> tuple[str, str, str, str]:
        return record.suite, record.task, record.variant, record.metric

    def texts(record: Record) -> str:
        return " ".join(f"{name} {digest[:8]}" for name, digest in record.hashes.items() if name not in MODEL_HASHES)

    for _, records in sources:
        for record in records:
            if record.suite in _ON_OWN_TEXTS:
                seen.setdefault(place(record), set()).add(texts(record))
    several = {key for key, found in seen.items() if len(found) > 1}
    for suite in sorted({key[0] for key in several}):
        tasks = sorted({key[1] for key in several if key[0] == suite})
        notices.append(f"{suite} {', '.join(tasks)} was measured on texts of each run's own: a table for each")

    def apart(record: Record) -> Record:
        if place(record) not in several:
            return record
        return record.model_copy(update={"variant": ", ".join(filter(None, (record.variant, texts(record))))})

    return [(where, [apart(record) for record in records]) for where, records in sources]


def _replaced(old: Sequence[Record], new: Sequence[Record], where: str) -> list[str]:
    """A sentence where a file's values take the place of others that were read before it."""
    known = {record.key(): record.value for record in old}
    models: dict[str, int] = {}
    for record in new:
        if record.key() in known and known[record.key()] != record.value and not is_difference(record):
            models[record.model] = models.get(record.model, 0) + 1
    return [
        f"{where}: {count} values of {model} replace others that were read before" for model, count in models.items()
    ]


def _read_folder(folder: Path) -> tuple[Passport | None, list[Record]]:
    has_passport, has_records = (folder / PASSPORT_FILE).is_file(), (folder / RECORDS_FILE).is_file()
    if not has_passport and not has_records:
        raise SlonikError(
            f"{folder} holds neither {PASSPORT_FILE} nor {RECORDS_FILE}: give a checkpoint or --json files"
        )
    passport = Passport.read(folder) if has_passport else None
    records = list(passport.records) if passport else []
    if has_records:
        records = list(merge_records(records, read_records(folder / RECORDS_FILE)))
    return passport, records


def check_comparable(sources: Iterable[tuple[str, Sequence[Record]]]) -> None:
    """Check that the same task means the same everywhere, and the same name the same model.

    Args:
        sources: (where from, records).

    Raises:
        SlonikError: two records of one task with different hashes of data or protocol; or two records of one
            model on one task with different hashes of the weights.
    """
    seen: dict[tuple[object, ...], tuple[str, str]] = {}
    for where, records in sources:
        for record in records:
            if record.detail.get("published"):
                continue
            for name, value in record.hashes.items():
                about_model = name in MODEL_HASHES
                # Every engine of a speed measurement runs the same texts, so its variant does not part them.
                place: tuple[object, ...] = (record.suite, record.task, record.layer, name)
                if about_model:
                    place = ("model", record.model, name)
                elif record.suite != "resources":
                    place = (*place, record.variant, record.metric)
                known, first = seen.setdefault(place, (value, where))
                if known == value:
                    continue
                if about_model:
                    raise SlonikError(
                        f"two different models are called {record.model!r} ({name} {known[:12]} in {first}, "
                        f"{value[:12]} in {where}): measure one of them again under another name"
                    )
                task = f"{record.suite} {record.task}" + (f" ({record.variant})" if record.variant else "")
                raise SlonikError(
                    f"{task} was measured on different {name} ({known[:12]} in {first}, {value[:12]} in {where}): "
                    "such scores do not belong in one table; measure both again the same way, or choose others "
                    "with --suite"
                )


_MAIN_COSTS = ("ms per text", "bytes on disk")


def sort_tables(tables: Sequence[Table], column: str) -> list[Table]:
    """The tables, each that has the column sorted by it, best first.

    Raises:
        SlonikError: no table has it; the nearest is named.
    """
    names = {name for table in tables for name in table.columns[1:] if " against " not in name}
    wanted = next((name for name in sorted(names) if name.lower() == column.lower()), None)
    if wanted is None:
        raise SlonikError(unknown_name(column, names, "column to sort by"))
    return [table.sorted(wanted) if wanted in table.columns[1:] else table for table in tables]


def overview_tables(results: Results, sort: str | None = None) -> list[Table]:
    """All tables that the records fill, in order: scores, ranks, differences, speed, MOROCCO, Pareto front.

    Args:
        sort: a column, by which the tables that have it are sorted.
    """
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
    tables += [table for rows in results.sweeps for table in sweep_tables(rows)]
    tables = [table for table in tables if table.rows]
    return tables if sort is None else sort_tables(tables, sort)


def overview_plots(results: Results) -> dict[str, Plot]:
    """Name -> plot, of what the records allow: pareto_*, morocco_discs, discs, speed."""
    records = results.records
    found: dict[str, Plot | None] = {}
    for trade in trade_offs(records):
        if trade.cost in _MAIN_COSTS:
            name = f"pareto_{trade.score.split(': ')[-1]}_against_{trade.cost.replace(' ', '_')}"
            found.setdefault(name, drawn(partial(_pareto, trade)))
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


def overview(
    results: Results, *, title: str = "Results", path: str | Path | None = None, sort: str | None = None
) -> str:
    """One self-contained HTML page of all tables and plots; written to `path` too where one is given.

    Raises:
        SlonikError: `path` cannot be written.
    """
    drawings = overview_plots(results)
    own = [record for record in results.records if not is_published(record)]
    names = list(dict.fromkeys(record.model for record in own if not is_difference(record)))
    lead = [f"{len(own)} measurements of {len(names)} model{'s' if len(names) != 1 else ''}: {', '.join(names)}."]
    blocks = [
        page.section("Side by side", *map(page.paragraph, headlines(results.records))),
        *(page.section(table.title, page.table(table)) for table in overview_tables(results, sort)),
        page.split(*(page.section(plot_title(name), page.figure(plot)) for name, plot in drawings.items())),
        page.section("Warnings", *map(page.paragraph, warnings_of(results.records))),
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
    return [plots.Bar(system_name(r), float(r.value or 0), r.low, r.high) for r in found]


def _gib(value: float) -> str:
    return f"{value:.1f}gb" if value >= 0.1 else f"{1024 * value:.0f}mb"
