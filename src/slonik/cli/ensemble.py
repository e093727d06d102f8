"""`slonik ensemble RESULTS...`: several runs' saved predictions put together, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slonik.cli.common import DataDir, JsonFile, print_scores, print_tables, save_records, split_names
from slonik.cli.numbers import SEED

if TYPE_CHECKING:
    from slonik.core.records import Record
    from slonik.finetuning.ensembles.own import OwnEnsemble
    from slonik.finetuning.ensembles.runs import TaskEnsemble


def ensemble(
    results: list[Path] = typer.Argument(
        help="Folders of predictions (TASK.SPLIT.jsonl), folders of such folders, what `slonik finetune` left (of your "
        "own task too), or files of `slonik predict` called after their task (TERRa.jsonl).",
        metavar="RESULTS...",
    ),
    data_dir: DataDir = None,
    out: Path | None = typer.Option(None, help="Write the predictions of the ensemble to this new folder."),
    method: str = typer.Option(
        "best", help="mean, weighted, vote, greedy (selection with replacement), stacking, single, or best of these."
    ),
    tasks: str | None = typer.Option(None, help="Comma-separated task ids (default: all that two runs answer)."),
    json_file: JsonFile = None,
    seed: int = typer.Option(0, help="Seed of the nested split and of the bootstrap.", **SEED),
) -> None:
    """Combine runs by every method, measured by a nested split of the labelled items, and write the chosen one.

    Example: slonik ensemble runs/terra/predictions runs/other/predictions --data-dir data --out runs/ensemble
    """
    from slonik.finetuning.ensembles.own import OwnEnsembled
    from slonik.finetuning.ensembles.runs import ensemble as combine

    found = combine(results, out, data_dir=data_dir, method=method, tasks=split_names(tasks, "--tasks"), seed=seed)
    _show(found.tasks, found.records)
    if out is not None and isinstance(found, OwnEnsembled):
        typer.echo(f"predictions: {out}")
    elif out is not None:
        typer.echo(f"predictions: {out} (slonik evaluate russian-superglue {out} scores and packs them)")
    save_records(json_file, found.records)


def _show(ensembles: Mapping[str, TaskEnsemble] | Mapping[str, OwnEnsemble], records: Sequence[Record]) -> None:
    from slonik.reporting.scores import difference_tables, score_tables
    from slonik.reporting.table import Table

    for task, one in ensembles.items():
        names = [f"{number + 1}: {name}" for number, name in enumerate(one.members)]
        columns = (f"{task}: share answered differently", *(str(number + 1) for number in range(len(names))), "weight")
        lines = [
            (name, *(f"{value:.3f}" for value in (*shares, weight)))
            for name, shares, weight in zip(names, one.disagreement, one.combiner.weights, strict=True)
        ]
        if not one.disagreement:
            continue
        print_tables([Table.of(f"{task}: {one.combiner.method}", columns, lines)])
    print_scores([*score_tables(records), *difference_tables(records)], records)
