"""encodechka over several encoders: each scored in turn, compared with the first, in tables beside published rows.

A cell of a table that was not measured is empty, never zero.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from slonik.core.numbers import check_seed
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown
from slonik.core.protocols import Encoder
from slonik.core.records import Record
from slonik.data.fetch import fetch_command
from slonik.evaluation.encodechka.comparison import compare
from slonik.evaluation.encodechka.run import EncoderScores, evaluate
from slonik.evaluation.encodechka.tasks import AVERAGES, PUBLISHED, TASKS, VARIANTS
from slonik.evaluation.resources.in_turns import REPEATABLE
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, opened, several, task_names, teller
from slonik.models.opening import poolings_for
from slonik.reporting.formatting import cell, difference_cell, times
from slonik.reporting.table import Content, Table
from slonik.text.matryoshka import check_dimensions, note_cuts

_COLUMNS = tuple(task for task in (*TASKS, *AVERAGES) if task != "speed")


def encodechka(
    models: str | Path | Encoder | Iterable[str | Path | Encoder],
    *,
    data_dir: str | Path | None = None,
    tasks: str | Sequence[str] | None = None,
    variants: Sequence[str] = VARIANTS,
    prefix: str | None = None,
    seed: int = 0,
    cache: bool = True,
    passport: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    pooling: str | None = None,
    dimensions: int | Sequence[int] = (),
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Ten tasks and speed for sentence encoders, as published (compatible) and mended (fixed), with intervals.

    Args:
        models: encoders that are loaded, or folders, hub ids, `embedded:NAME` and bare names of baselines; each later
            one is compared with the first. At most two are loaded at a time: speeds are compared in turns.
        data_dir: the data folder, with encodechka/ in it; None = $SLONIK_DATA or the user's cache folder.
        tasks: one id to score, or several; None = all whose files are there.
        variants: of "compatible", "fixed".
        prefix: put before every text; None = the encoder's default for sentences, and none for words.
        seed: of the bootstrap; the published classifiers keep their own.
        cache: keep embeddings in the user's cache folder, and take them from there.
        passport: add the records to the passport of a model that is given as a folder.
        dtype, device, trust_remote_code: of loading, for models by name that torch runs.
        pooling: how models by name pool whose files do not say, as `slonik.load` takes it.
        dimensions: numbers of leading dimensions to score alone too, a row each; with `passport`, the folder's
            config.json says afterwards that they were measured.
        progress: show bars, and tasks as they begin, on standard error.
        on_task: called with model and task instead.

    Raises:
        SlonikError: no such model, unknown task or variant, damaged data, or no data at all.
    """
    check_seed(seed)
    started = time.perf_counter()
    tell, names = teller(on_task, progress), task_names(tasks)
    cuts = sorted({dimensions} if isinstance(dimensions, int) else set(dimensions), reverse=True)
    loading = {"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code or None}
    found: list[EncoderScores] = []
    warnings: list[str] = []
    first: Encoder | None = None
    with shown(progress):
        asked = several(models)
        by_name = [model for model in asked if isinstance(model, str | Path)]
        chosen = dict(zip(map(str, by_name), poolings_for(by_name, pooling), strict=True))
        for model in asked:
            encoder = opened(model, **loading, **chosen.get(str(model), {}))
            for cut in cuts:
                check_dimensions(cut, encoder.dimension, encoder.name)
            scores = evaluate(
                encoder, data_folder(data_dir), tasks=names, variants=variants, prefix=prefix, use_cache=cache,
                seed=seed, on_task=partial(tell, encoder.name), beside=first,
            )  # fmt: skip
            warnings += [line for variant in scores.beside if (line := _doubt(scores, variant))]
            parts = [scores, *(
                evaluate(
                    encoder, data_folder(data_dir), tasks=names, variants=variants, prefix=prefix, use_cache=cache,
                    seed=seed, on_task=partial(tell, f"{encoder.name} ({cut} dimensions)"), dimensions=cut,
                )
                for cut in cuts
            )]  # fmt: skip
            found += parts
            warnings += [note for part in parts for note in part.notes]
            if passport and isinstance(model, str | Path):
                warnings += add_to_passport(model, [record for part in parts for record in part.records])
                if cuts and Path(model).is_dir():
                    note_cuts(model, cuts)
            if first is None and any(task == "speed" for _, task in scores.measured) and len(asked) > 1:
                first = encoder
            del encoder  # before the next one is loaded
    differences = compare(found)
    return Evaluation(
        records=(*(record for scores in found for record in scores.records), *differences),
        tables=(
            *map(per_model, found),
            *([differences_table(differences)] if differences else []),
            leaderboard(found),
        ),
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(note for scores in found for note in _notes(scores, data_folder(data_dir))),
        seconds=time.perf_counter() - started,
    )


def _notes(scores: EncoderScores, data: Path) -> list[str]:
    """What of an encoder was not scored, and where its time went."""
    notes = []
    if scores.missing:
        names = "; ".join(f"{task} ({', '.join(files)})" for task, files in scores.missing.items())
        notes.append(
            f"{scores.model}: not scored, as their files are not there: {names}. Averages over them are left out; "
            f"`{fetch_command('encodechka', data)}` gets the files."
        )
    notes += scores.cut
    notes.append(
        f"{scores.model}: embeddings {scores.embedding_seconds:.1f} s ({scores.encoded} texts encoded, "
        f"{scores.reused} from the cache), classifiers and intervals {scores.classifier_seconds:.1f} s"
    )
    return notes


def _doubt(scores: EncoderScores, variant: str) -> str:
    """A warning where the clock is not to be trusted; "" where it is."""
    told = scores.beside[variant].detail
    if "warnings" not in told:
        return ""
    first, second = told["cpu_ms"]
    return (
        f"{scores.model}, speed ({variant}): the clock is not to be trusted: {told['warnings'][0]}; the difference is "
        f"of the processor's time, {first:.3g} and {second:.3g} ms a text ({times(second / first)} as much)"
    )


def per_model(evaluation: EncoderScores) -> Table:
    """Every task of one model: value and 95 % interval under both variants, and the pooling that was taken."""
    variants = list(dict.fromkeys(variant for variant, _ in evaluation.measured))
    lines: list[list[Content]] = []
    for task in (*TASKS, *AVERAGES):
        found = [evaluation.measured.get((variant, task)) for variant in variants]
        if any(found):
            lines.append([_name(task), *(part for one in found for part in _cells(one.record if one else None))])
    columns = ("task", *(part for variant in variants for part in (f"{variant} [95 %]", "taken")))
    return Table.of(f"{evaluation.model}: encodechka", columns, lines, ("speed: ms per text, on this machine now",))


def leaderboard(evaluations: Sequence[EncoderScores]) -> Table:
    """Measured rows above published ones; published values are the greatest over poolings on the test set."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for evaluation in evaluations:
        for (variant, task), found in evaluation.measured.items():
            if found.record.value is not None:
                rows.setdefault((evaluation.model, variant), {})[task] = f"{found.record.value:.3f}"
    published = {(row.model, "not measured here"): row for row in PUBLISHED}
    rows |= {
        key: {task: _published(value, row.source) for task, value in row.scores.items()}
        for key, row in published.items()
    }
    return Table.grid(
        "beside published models",
        ("model", "variant"),
        {row: row for row in rows},
        {task: _name(task) for task in _COLUMNS},
        lambda row, task: rows[row].get(task, ""),
        notes=["not measured here: published values (leaderboard, model cards); they compare with `compatible`"],
        published=published,
    )


def differences_table(records: Sequence[Record]) -> Table:
    """Paired differences with interval and p-value."""
    lines: list[list[Content]] = [
        [record.model, record.variant, _name(record.task), difference_cell(record), f"{record.detail['p_value']:.3f}"]
        for record in records
    ]
    notes = ["paired bootstrap over test items; averages over all their tasks at once"]
    if any(record.task == "speed" for record in records):
        notes.append(f"speed: ms per text, timed in turns; less than {100 * REPEATABLE:.0f} % is no difference")
    return Table.of("differences", ("models", "variant", "task", "difference [95 %]", "p"), lines, notes)


def _cells(record: Record | None) -> tuple[Content, Content]:
    """Value with interval, and what it was taken from."""
    if record is None:
        return "", ""
    return cell(record), "/".join(
        str(record.detail[part]) for part in ("pooling", "classifier") if part in record.detail
    )


def _published(value: float, source: str) -> str:
    digits = 2 if "leaderboard" in source and round(value, 2) == value else 3
    return f"{value:.{digits}f}"


def _name(task: str) -> str:
    return {"mean_s": "Mean S", "mean_s5": "Mean S5", "mean_sw": "Mean S+W"}.get(task, task.upper())
