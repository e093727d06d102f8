"""What a ladder of taggers reached: records with intervals, paired differences, and a table beside published figures.

Reads kept predictions only; trains and tags nothing. Systems that ran on different folds are scored on their own
documents and compared on the shared ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder, write_text
from slonik.core.passport import Passport
from slonik.core.records import Record, write_records
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.tagging.evaluation.compare import compare
from slonik.tagging.evaluation.run import Evaluation, score
from slonik.tagging.ladder import Ladder, Rung

_MILLION = 1e6


@dataclass(frozen=True)
class Scores:
    """A scored ladder: one evaluation per system, and every paired difference."""

    evaluations: list[Evaluation]
    differences: list[Record]
    table: str

    @property
    def records(self) -> list[Record]:
        """Everything measured."""
        return [record for one in self.evaluations for record in one.records] + self.differences


def score_ladder(ladder: Ladder, *, task: str, folds: int, seed: int) -> Scores:
    """Score every system of a ladder.

    Args:
        task: of the records, for example the name of the collection.
        folds: how many folds there are.
        seed: of the bootstrap.
    """
    evaluations = [_evaluate(ladder.of(name), task, folds, seed, ladder.notes) for name in ladder.systems]
    differences = compare(evaluations, every_pair=True)
    return Scores(evaluations, differences, ladder_table(ladder, evaluations))


def _evaluate(rungs: Sequence[Rung], task: str, folds: int, seed: int, notes: Sequence[str]) -> Evaluation:
    documents = [document for rung in rungs for document in rung.gold]
    predicted = [document.spans for rung in rungs for document in rung.predicted]
    numbers = [rung.fold for rung in rungs for _ in rung.gold]
    milliseconds = sum(rung.summary["milliseconds_per_text"] * len(rung.gold) for rung in rungs)
    return score(
        rungs[0].system, documents, predicted, task=task, variant=_variant(rungs, folds), folds=numbers, seed=seed,
        seconds=milliseconds / 1000, facts=rungs[0].summary, notes=notes,
    )  # fmt: skip


def _variant(rungs: Sequence[Rung], folds: int) -> str:
    if len(rungs) == folds:
        return f"{folds} folds"
    return f"fold {', '.join(str(rung.fold) for rung in rungs)} of {folds}"


def ladder_table(ladder: Ladder, evaluations: Sequence[Evaluation]) -> str:
    """A Markdown table: F1 with intervals, median time per text, parameters and bytes of each system."""
    rows = [
        "| system | test | micro F1, % | macro F1, % | ms per text | learnt parameters, M | MB on disk |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, evaluation in zip(ladder.systems, evaluations, strict=True):
        rungs = ladder.of(name)
        micro, macro = (_percent(evaluation.record(metric)) for metric in ("f1_micro", "f1_macro"))
        time = sum(rung.summary["milliseconds_per_text"] for rung in rungs) / len(rungs)
        learnt = rungs[0].summary["parameters"] / _MILLION
        size = rungs[0].summary["bytes"] / _MILLION
        rows.append(f"| {name} | {evaluation.variant} | {micro} | {macro} | {time:.0f} | {learnt:.2f} | {size:.1f} |")
    return "\n".join(rows) + "\n"


def _percent(record: Record) -> str:
    if record.value is None or record.low is None or record.high is None:
        return "-"
    return f"{100 * record.value:.2f} [{100 * record.low:.2f}, {100 * record.high:.2f}]"


def write_ladder(ladder: Ladder, scores: Scores, out: Path) -> None:
    """Write `records.json`, `table.md`, predictions per system and fold, and the taggers, into `out`.

    What an earlier call wrote is replaced; the steps stay beside.

    Raises:
        SlonikError: full disk.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_records(out / "records.json", scores.records)
    write_text(out / "table.md", scores.table)
    for rung in ladder.rungs:
        name = f"{rung.model.parent.name.rsplit('-', 1)[0]}"
        write_spans_jsonl(rung.predicted, out / "predictions" / f"{name}.jsonl")
        target = out / "taggers" / name
        if rung.model.is_dir() and not _same(rung.model, target):
            with new_folder(target, overwrite=True) as unfinished:
                shutil.copytree(rung.model, unfinished, dirs_exist_ok=True)


def _same(model: Path, copy: Path) -> bool:
    """Whether `copy` is of this very training: the lineage in its passport says which."""
    try:
        return Passport.read(copy).lineage == Passport.read(model).lineage
    except SlonikError:
        return False
