"""`slonik study ner`: the whole ladder of taggers on one's own annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.tagging import security_collection

if TYPE_CHECKING:
    from slonik.tagging.scores import Scores


def ner(
    recipe: Path = typer.Argument(help="YAML file: systems, folds, mapping of labels (recipes/ner_seccoll.yaml)."),
    data: Path | None = typer.Option(None, help="Annotated texts: a BRAT folder, CoNLL, JSONL, Parquet."),
    data_dir: Path | None = typer.Option(None, help="Instead of --data: the folder that holds seccoll/."),
    kind: str | None = typer.Option(None, "--from", help="brat, conll, jsonl, hf (default: guess)."),
    out: Path | None = typer.Option(None, help="Folder for taggers, predictions, records and table."),
    unlabelled: list[str] = typer.Option([], help="Text files on which teachers teach, instead of the recipe's."),
    system: list[str] = typer.Option([], help="Run only systems of these names (repeat), and those they learn from."),
    run_folds: str | None = typer.Option(None, help="Test folds to run, for example 0 or 0,1,2,3,4."),
    set_: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Override any field of the recipe."),
    json_file: Path | None = typer.Option(None, "--json", help="Write result records to this file.", metavar="FILE"),
    html: Path | None = typer.Option(None, help="Write a page with tables and every mistake in context."),
) -> None:
    """Train CRF, BiLSTMs, encoders and BiLSTMs taught by an encoder; test them on whole documents of other folds.

    Every (system, fold) is kept in OUT.steps and skipped when it is done; an interrupted ladder goes on.

    Example:

        slonik study ner recipes/ner_seccoll.yaml --data data/seccoll --unlabelled security.txt --out ladder
    """
    from rich.console import Console

    from slonik.core.config import parse_overrides, read_config
    from slonik.core.records import write_records
    from slonik.tagging.config import LadderRecipe
    from slonik.tagging.ladder import chosen_systems, run_ladder
    from slonik.tagging.scores import score_ladder, write_ladder

    fields: dict[str, object] = {"data": _text(data), "format": kind, "out": _text(out)}
    if data is None and data_dir is not None:
        fields["data"] = str(security_collection(data_dir)[0])
    fields["run_folds"] = _numbers(run_folds) if run_folds else None
    config = read_config(LadderRecipe, recipe, fields | parse_overrides(set_))
    config = chosen_systems(config, system, unlabelled)
    notes = Console(stderr=True)
    ladder = run_ladder(config, announce=lambda line: notes.print(line, highlight=False, markup=False, soft_wrap=True))
    task = Path(config.data).resolve().name.partition(".")[0].lower()
    scores = score_ladder(ladder, task=task, folds=config.folds, seed=config.seed)
    write_ladder(ladder, scores, Path(config.out))
    _show(scores, task, html)
    if json_file is not None:
        write_records(json_file, scores.records)
    typer.echo(f"taggers, predictions, records and table: {config.out}", err=True)


def _numbers(text: str) -> list[int]:
    """[0, 1] of "0,1"."""
    from slonik.core.errors import SlonikError

    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise SlonikError(f"--run-folds is {text!r}: give numbers with commas between, for example 0,1,2") from None


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _show(scores: Scores, task: str, html: Path | None) -> None:
    from slonik.core.atomic import write_text
    from slonik.reporting.terminal import print_table
    from slonik.tagging.evaluation.tasks import TASKS, published_records
    from slonik.tagging.report.ner import ner_tables
    from slonik.tagging.report.ner_errors import error_page

    known = TASKS.get(task)
    published = published_records(known) if known else []
    caution = known.caution if known else ""
    for table in ner_tables([*scores.records, *published], caution=caution):
        print_table(table)
    if html is not None:
        errors = {one.model: one.errors() for one in scores.evaluations}
        records = [*scores.records, *published]
        write_text(html, error_page(records, errors, title=f"Named entities: {task}", caution=caution))
        typer.echo(f"page -> {html}", err=True)
