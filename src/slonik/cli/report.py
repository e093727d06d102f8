"""`slonik report RESULTS...`: tables, plots and a page from result files and run folders."""

from __future__ import annotations

from pathlib import Path

import typer

from slonik.cli.common import JsonFile, file_to_write, folder_to_fill, print_tables, save_records, warn


def register(app: typer.Typer) -> None:
    """Add the `report` command."""
    app.command("report")(report)


def report(
    results: list[Path] = typer.Argument(
        help="Files written by --json, folders of checkpoints and of sweeps.", metavar="RESULTS..."
    ),
    html: Path | None = typer.Option(
        None, help="Write one self-contained page.", metavar="FILE", callback=file_to_write
    ),
    markdown: Path | None = typer.Option(
        None, help="Write the tables as Markdown.", metavar="FILE", callback=file_to_write
    ),
    plots: Path | None = typer.Option(
        None, help="Write the plots as PNG files into this folder.", metavar="DIR", callback=folder_to_fill
    ),
    json_file: JsonFile = None,
    suite: list[str] | None = typer.Option(None, help="Only this suite, e.g. encodechka; may be repeated."),
    sort: str | None = typer.Option(
        None, help="Sort by this column, best first: mean_s5, sts, ms per text.", metavar="COLUMN"
    ),
    title: str = typer.Option("Results", help="The page's title."),
    published: bool = typer.Option(True, help="Add published rows, marked as not measured here."),
) -> None:
    """Put everything that was measured into tables with intervals, the Pareto front and plots.

    Reads result files and passports only. Scores of the same task on different data are refused; what runs measured on
    texts of their own stands in tables of its own. Example: slonik report runs/*/records.json --sort mean_s5
    """
    from slonik.core.errors import SlonikError
    from slonik.core.files import write_text
    from slonik.evaluation.comparison import seed_orders
    from slonik.evaluation.published import published_beside
    from slonik.inspection.page import inspection_page, inspection_tables
    from slonik.reporting.overview import collect, overview, overview_tables, write_plots
    from slonik.reporting.resources import headlines, warnings_of
    from slonik.reporting.table import to_markdown

    found = collect(results, suites=suite or ())
    if not found.records and not found.sweeps:
        raise SlonikError(
            f"nothing has been measured yet in {', '.join(map(str, results))}: run slonik evaluate or bench"
        )
    found.records += seed_orders(found.records)
    own = list(found.records)
    if published:
        found.records += published_beside(found.records)
    for line in headlines(found.records):
        typer.echo(line)
    inside = [record for record in found.records if record.suite == "inspection"]
    tables = [*overview_tables(found, sort), *inspection_tables(inside)]
    print_tables(tables)
    warn([*found.notices, *warnings_of(own)])
    if html is not None:
        if inside and len(inside) == len(found.records):
            write_text(html, inspection_page(inside[0].model, inside))
        else:
            overview(found, title=title, path=html, sort=sort)
            if inside:
                warn("what was found inside a model has a page of its own: give these records alone to make it")
        typer.echo(f"page: {html}")
    if markdown is not None:
        write_text(markdown, f"# {title}\n\n" + "\n".join(to_markdown(table) for table in tables))
        typer.echo(f"Markdown: {markdown}")
    if plots is not None:
        for path in write_plots(found, plots):
            typer.echo(f"plot: {path}")
    save_records(json_file, own)
