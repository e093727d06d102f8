"""`slonik study ner`: the whole ladder of taggers on one's own annotations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import JsonFile, Overrides, announce, print_tables, save_records, split_numbers
from slonik.cli.tagging import security_collection

if TYPE_CHECKING:
    from slonik.tagging.scores import Scores


def ner(
    recipe: Path = typer.Argument(help="YAML file: systems, folds, mapping of labels (recipes/ner_seccoll.yaml)."),
    data: Path | None = typer.Option(None, help="Annotated texts: a BRAT folder, CoNLL, JSONL, Parquet."),
    data_dir: Path | None = typer.Option(None, help="Instead of --data: the folder that holds seccoll/."),
    kind: str | None = typer.Option(None, "--from", help="brat, conll, jsonl, hf (default: guess)."),
    out: Path | None = typer.Option(None, help="Folder for taggers, predictions, records and table."),
    unlabelled: list[str] = typer.Option([], help="Text files that teachers label, instead of the recipe's."),
    system: list[str] = typer.Option([], help="Run only systems of these names (repeat), and those they learn from."),
    run_folds: str | None = typer.Option(None, help="Test folds to run, for example 0 or 0,1,2,3,4."),
    set_: Overrides = [],  # noqa: B006
    json_file: JsonFile = None,
    html: Path | None = typer.Option(None, help="Write a page with tables and every mistake in context."),
) -> None:
    """Train CRF, BiLSTMs, encoders and BiLSTMs distilled from an encoder; test them on whole documents of other folds.

    Every (system, fold) is kept in OUT.steps and skipped when it is done; an interrupted ladder goes on.

    Example:

        slonik study ner recipes/ner_seccoll.yaml --data data/seccoll --unlabelled security.txt --out ladder
    """
    from slonik.core.config import configure
    from slonik.tagging.config import LadderRecipe
    from slonik.tagging.ladder import chosen_systems, run_ladder
    from slonik.tagging.scores import score_ladder, write_ladder

    fields: dict[str, object] = {"data": _text(data), "format": kind, "out": _text(out)}
    if data is None and data_dir is not None:
        fields["data"] = str(security_collection(data_dir)[0])
    fields["run_folds"] = split_numbers(run_folds, "--run-folds", least=0) if run_folds else None
    config = chosen_systems(configure(LadderRecipe, recipe, fields, set_), system, unlabelled)
    ladder = run_ladder(config, announce=announce)
    task = Path(config.data).resolve().name.partition(".")[0].lower()
    scores = score_ladder(ladder, task=task, folds=config.folds, seed=config.seed)
    write_ladder(ladder, scores, Path(config.out))
    _show(scores, task, html)
    save_records(json_file, scores.records)
    announce(f"taggers, predictions, records and table: {config.out}")


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _show(scores: Scores, task: str, html: Path | None) -> None:
    from slonik.core.files import write_text
    from slonik.tagging.evaluation.tasks import TASKS, published_records
    from slonik.tagging.report.ner import ner_tables
    from slonik.tagging.report.ner_errors import error_page

    known = TASKS.get(task)
    published = published_records(known) if known else []
    caution = known.caution if known else ""
    print_tables(ner_tables([*scores.records, *published], caution=caution))
    if html is not None:
        errors = {one.model: one.errors() for one in scores.evaluations}
        records = [*scores.records, *published]
        write_text(html, error_page(records, errors, title=f"Named entities: {task}", caution=caution))
        announce(f"page -> {html}")
