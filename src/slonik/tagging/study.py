"""The study of taggers: the ladder run, scored, told and written; what `slonik study ner` does.

Scores are made of kept predictions: systems that ran on different folds are scored on their own documents and compared
on the shared ones. Steps lie in `OUT/runs` and stay there, so that a system or a fold more costs that alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.config import configure, fields_of
from slonik.core.errors import SlonikError
from slonik.core.files import copy_folder, write_text
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.records import Record, write_records
from slonik.core.run import Announce, Run, say, silent
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.evaluation.suite import Evaluation
from slonik.reporting.formatting import cell, number_cell
from slonik.reporting.table import Content, Table, to_markdown
from slonik.tagging.config import LadderRecipe
from slonik.tagging.data import Annotated, name_of, read_collection, task_of
from slonik.tagging.evaluate import reported
from slonik.tagging.ladder import Ladder, chosen_systems, run_ladder
from slonik.tagging.metrics import TaggerScores, compare, score
from slonik.tagging.outside import beside_recipe
from slonik.tagging.tasks import SECCOLL, task_folder

RUNS = "runs"
_COLUMNS = {
    "test": "test", "f1_micro": "micro F1", "f1_macro": "macro F1", "ms_per_text": "ms per text",
    "parameters": "trainable parameters", "bytes": "size",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TaggerStudy(Evaluation):
    """What a study found.

    Attributes:
        out: folder with `records.json`, `table.md`, `predictions/`, `taggers/` and `runs/`.
        taggers: system and fold, as files bear them -> folder of the tagger.
    """

    out: Path
    taggers: dict[str, Path] = field(default_factory=dict)


def study_taggers(
    recipe: str | Path | Mapping[str, Any],
    data: Annotated | None = None,
    *,
    out: str | Path | None = None,
    data_format: str | None = None,
    data_dir: str | Path | None = None,
    unlabelled: Sequence[str | Path] = (),
    systems: Sequence[str] = (),
    run_folds: Sequence[int] | None = None,
    html: str | Path | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> TaggerStudy:
    """Train and test the systems of a recipe on whole documents of other folds; the same call goes on.

    Args:
        recipe: YAML file, or its content: systems, folds, mapping of labels (`LadderRecipe`).
        data: annotated texts, instead of the recipe's; or seccoll/ in `data_dir`.
        out: folder for the study, instead of the recipe's.
        data_format: brat, conll, jsonl, hf; None = guess.
        unlabelled: text files that teachers label, instead of the recipe's.
        systems: names of those to run, with those they learn from; none = all.
        run_folds: test folds to run, whatever the systems of the recipe say.
        html: write a page with tables and every mistake in context.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: a wrong field, bad annotations, a teacher that has seen the test texts, an `out` of other data.
    """
    at = fields_of(LadderRecipe)
    if data is not None and data_dir is not None:
        raise SlonikError("--data and --data-dir name two collections: give one of them")
    if data is None and data_dir is not None:
        data = task_folder(SECCOLL, data_dir)
    fields: dict[Any, Any] = {
        at.data: name_of(data) if data is not None else None, at.format: data_format,
        at.out: str(out) if out is not None else None, at.run_folds: list(run_folds) if run_folds else None,
    }  # fmt: skip
    config = chosen_systems(configure(LadderRecipe, recipe, fields, set), systems, [str(path) for path in unlabelled])
    config = config.model_copy(update={"systems": tuple(beside_recipe(one, recipe) for one in config.systems)})
    if run_folds:  # what is asked for now goes before what the systems of the recipe say
        config = config.model_copy(
            update={"systems": tuple(system.model_copy(update={"folds": None}) for system in config.systems)}
        )
    announce = announce or (say if progress else silent)
    with shown(progress):
        return run_study(config, announce, data=config.data if data is None else data, html=html)


def run_study(config: LadderRecipe, announce: Announce, *, data: Annotated, html: str | Path | None) -> TaggerStudy:
    """Run a whole recipe; see `study_taggers`.

    Raises:
        SlonikError: as `study_taggers`.
    """
    reads = [data] if isinstance(data, str | Path) else []
    reads += [system.model for system in config.systems if system.model is not None]
    with Run(config.out, command="study", announce=announce, reads=reads, live=RUNS) as run:
        collection = read_collection(data, config.format, config.mapping)
        collection.tell(announce)
        run.done_before({"data": collection.identity(), "folds": config.folds, "fold_seed": config.fold_seed})
        ladder = run_ladder(config, collection, run)
        task = task_of(data)
        scores = score_ladder(ladder, task=task, folds=config.folds, seed=config.seed)
        differences = compare(scores, every_pair=True)
        taggers = write_study(ladder, scores, differences, run.out)
        found = reported(scores, differences, task, html)
    return TaggerStudy(
        records=found.records, tables=found.tables, notes=found.notes, report=found.report, out=run.out,
        taggers=taggers, seconds=run.seconds,
    )  # fmt: skip


def score_ladder(ladder: Ladder, *, task: str, folds: int, seed: int) -> list[TaggerScores]:
    """The scores of every system of a ladder.

    Args:
        task: of the records, for example the name of the collection.
        folds: how many folds there are.
        seed: of the bootstrap.
    """
    found = []
    for name in ladder.systems:
        rungs = ladder.of(name)
        documents = [document for rung in rungs for document in rung.gold]
        predicted = [document.spans for rung in rungs for document in rung.predicted]
        numbers = [rung.fold for rung in rungs for _ in rung.gold]
        milliseconds = sum(rung.summary["milliseconds_per_text"] * len(rung.gold) for rung in rungs)
        some = ", ".join(str(rung.fold) for rung in rungs)
        variant = f"{folds} folds" if len(rungs) == folds else f"fold {some} of {folds}"
        found.append(
            score(
                name, documents, predicted, task=task, variant=variant, folds=numbers, seed=seed,
                seconds=milliseconds / 1000, facts=rungs[0].summary, notes=ladder.notes,
            )
        )  # fmt: skip
    return found


def ladder_table(ladder: Ladder, scores: Sequence[TaggerScores]) -> Table:
    """F1 with intervals, median time per text, parameters and bytes of each system."""
    by_name = {one.model: one for one in scores}

    def content(name: str, column: str) -> Content:
        rungs, found = ladder.of(name), by_name[name]
        if column == "test":
            return found.variant
        if column in ("f1_micro", "f1_macro"):
            return cell(found.record(column))
        if column == "ms_per_text":
            return number_cell(column, sum(rung.summary["milliseconds_per_text"] for rung in rungs) / len(rungs))
        return number_cell(column, rungs[0].summary[column])

    return Table.grid("", "system", {name: name for name in ladder.systems}, _COLUMNS, content)


def write_study(
    ladder: Ladder, scores: Sequence[TaggerScores], differences: Sequence[Record], out: Path
) -> dict[str, Path]:
    """Write `records.json`, `table.md`, predictions per system and fold, and the taggers, into `out`.

    What an earlier call wrote is replaced; a tagger that is there from the same training stays, with what was measured
    of it since.

    Returns:
        Name of system and fold -> folder of the tagger.

    Raises:
        SlonikError: full disk.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_records(out / "records.json", [*(record for one in scores for record in one.records), *differences])
    write_text(out / "table.md", to_markdown(ladder_table(ladder, scores)))
    taggers = {}
    for rung in ladder.rungs:
        write_spans_jsonl(rung.predicted, out / "predictions" / f"{rung.name}.jsonl")
        taggers[rung.name] = target = out / "taggers" / rung.name
        if not _same(rung.model, target):
            copy_folder(rung.model, target, overwrite=True)
    return taggers


def _same(model: Path, copy: Path) -> bool:
    """Whether `copy` is of this very training: the lineage in its passport says which."""
    try:
        return Passport.read(copy).lineage == Passport.read(model).lineage
    except SlonikError:
        return False
