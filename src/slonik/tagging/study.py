"""The study of taggers: the ladder run, scored, told and written; what `slonik study ner` does.

Scores are made of kept predictions: systems that ran on different folds are scored on their own documents and compared
on the shared ones. Steps lie in `OUT/runs` and stay there, so that a system or a fold more costs that alone. Each call
that tests something new is a look at its test folds: `looks.json` counts them, and the records say how often their
figures could have guided somebody.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slonik.core.config import configure, fields_of
from slonik.core.errors import SlonikError
from slonik.core.files import copy_folder, write_json, write_text
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.records import Record, write_records
from slonik.core.run import Announce, Run, say, silent
from slonik.data.annotations.document import lying_within
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
from slonik.text.lines import read_json

RUNS = "runs"
LOOKS = "looks.json"
_MANY_LOOKS = 3
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
    seeds: int | None = None,
    learning: Sequence[float] = (),
    kept_fold: bool = False,
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
        seeds: trainings of each system on each fold: values are means over them, intervals hold their spread.
        learning: shares of the training texts for the learning curve; all of them is run anyway.
        kept_fold: test on the fold that the recipe keeps until the end, instead of the others.
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
        at.seeds: seeds, at.learning: list(learning) or None,
    }  # fmt: skip
    config = chosen_systems(configure(LadderRecipe, recipe, fields, set), systems, [str(path) for path in unlabelled])
    config = config.model_copy(update={"systems": tuple(beside_recipe(one, recipe) for one in config.systems)})
    if run_folds and kept_fold:
        raise SlonikError("--run-folds and --kept-fold name different folds: give one of them")
    if run_folds:  # what is asked for now goes before what the systems of the recipe say
        config = config.model_copy(
            update={"systems": tuple(system.model_copy(update={"folds": None}) for system in config.systems)}
        )
    announce = announce or (say if progress else silent)
    with shown(progress):
        return run_study(config, announce, data=config.data if data is None else data, html=html, kept=kept_fold)


def run_study(
    config: LadderRecipe, announce: Announce, *, data: Annotated, html: str | Path | None, kept: bool = False
) -> TaggerStudy:
    """Run a whole recipe; see `study_taggers`.

    Raises:
        SlonikError: as `study_taggers`.
    """
    reads = [data] if isinstance(data, str | Path) else []
    reads += [system.model for system in config.systems if system.model is not None]
    with Run(config.out, command="study", announce=announce, reads=reads, live=RUNS) as run:
        nested = all(system.nested for system in config.systems)  # beside flat taggers all are measured on flat spans
        collection = read_collection(data, config.format, config.mapping, nested=nested)
        collection.tell(announce)
        heads = [system.name for system in config.systems if system.nested]
        if heads and not nested:
            announce(
                f"{', '.join(heads)}: span heads beside flat taggers, so all are trained and measured on spans without "
                "overlaps; for entities within others run them alone (--system)"
            )
        run.done_before({"data": collection.identity(), "folds": config.folds, "fold_seed": config.fold_seed})
        ladder = run_ladder(config, collection, run, kept=kept)
        ladder = replace(ladder, notes=[*ladder.notes, *note_looks(ladder, run.out, config.kept_fold)])
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
        scored = _score(ladder, name, 1.0, task=task, folds=folds, seed=seed)
        points = []
        for share in ladder.shares if len(ladder.shares) > 1 else ():
            record = scored.record("f1_micro")
            if share < 1:
                record = _score(ladder, name, share, task=task, folds=folds, seed=seed).record("f1_micro")
            fit = [rung.summary.get("fit", 0) + rung.summary.get("stop", 0) for rung in ladder.of(name, share)]
            points.append({"share": share, "documents": round(sum(fit) / len(fit)), "f1": record.value,
                           "low": record.low, "high": record.high})  # fmt: skip
        if points:
            scored.record("f1_micro").detail["learning"] = points
        found.append(scored)
    return found


def _score(ladder: Ladder, name: str, share: float, *, task: str, folds: int, seed: int) -> TaggerScores:
    """The scores of one system, trained on a share of the texts: means over its seeds."""
    every = ladder.of(name, share)
    seeds = sorted({rung.seed for rung in every})
    runs = [[rung for rung in every if rung.seed == number] for number in seeds]
    rungs = runs[0]
    documents = [document for rung in rungs for document in rung.gold]
    predicted = [[document.spans for rung in run for document in rung.predicted] for run in runs]
    numbers = [rung.fold for rung in rungs for _ in rung.gold]
    milliseconds = sum(rung.summary["milliseconds_per_text"] * len(rung.gold) for rung in rungs)
    some = ", ".join(str(rung.fold) for rung in rungs)
    variant = f"{folds} folds" if len(rungs) == folds else f"fold {some} of {folds}"
    variant += f", {len(seeds)} seeds" if len(seeds) > 1 else ""
    return score(
        name, documents, predicted[0], task=task, variant=variant, folds=numbers, seed=seed,
        seconds=milliseconds / 1000, facts=rungs[0].summary, notes=ladder.notes, further=predicted[1:],
        seen_names=[rung.names for rung in rungs for _ in rung.gold],
        nested=any(any(lying_within(document.spans)) for document in documents),
    )  # fmt: skip


def note_looks(ladder: Ladder, out: Path, kept_fold: int | None) -> list[str]:
    """Write down which test folds this call has newly looked at; a sentence about folds that were looked at often.

    Args:
        out: the study's folder, in which `looks.json` lies.
        kept_fold: the fold that is kept until the end, if any.

    Raises:
        SlonikError: the file is damaged, or the disk is full.
    """
    path = out / LOOKS
    looks: dict[str, list[dict[str, Any]]] = read_json(path, optional=True)
    fresh: dict[int, set[str]] = {}
    for rung in ladder.rungs:
        if rung.fresh and rung.share == 1:
            fresh.setdefault(rung.fold, set()).add(rung.system)
    today = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    for fold, systems in sorted(fresh.items()):
        looks.setdefault(str(fold), []).append({"when": today, "systems": sorted(systems)})
    if fresh:
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, looks)
    notes = []
    for fold in sorted({rung.fold for rung in ladder.rungs}):
        count = len(looks.get(str(fold), ()))
        if fold == kept_fold:
            times = "for the first time" if count <= 1 else f"{count} times"
            notes.append(f"fold {fold}, kept until the end, was looked at {times}")
        elif count >= _MANY_LOOKS:
            notes.append(
                f"fold {fold} was looked at {count} times: what was changed between the looks may fit its texts alone; "
                "decide on a fold that was kept (kept_fold)"
            )
    return notes


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
        if rung.share < 1:
            continue  # of the learning curve: it lies in `runs` alone
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
