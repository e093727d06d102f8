"""encodechka over several encoders: each scored in turn, compared with the first, in tables beside published rows.

A cell of a table that was not measured is empty, never zero.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown
from slonik.core.protocols import Encoder
from slonik.core.records import Record
from slonik.evaluation.encodechka.comparison import compare
from slonik.evaluation.encodechka.run import EncoderScores, evaluate
from slonik.evaluation.encodechka.tasks import AVERAGES, PUBLISHED, TASKS, VARIANTS
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, opened, several, teller
from slonik.reporting.table import Cell, Content, Row, Table

_COLUMNS = tuple(task for task in (*TASKS, *AVERAGES) if task != "speed")


def encodechka(
    models: str | Path | Encoder | Iterable[str | Path | Encoder],
    *,
    data_dir: str | Path | None = None,
    tasks: Sequence[str] | None = None,
    variants: Sequence[str] = VARIANTS,
    prefix: str | None = None,
    seed: int = 0,
    cache: bool = True,
    passport: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Ten tasks and speed for sentence encoders, as published (compatible) and mended (fixed), with intervals.

    Args:
        models: encoders that are loaded, or folders, hub ids, `embedded:NAME` and bare names of baselines; one is
            loaded at a time, and each later one is compared with the first.
        data_dir: the data folder, with encodechka/ in it; None = $SLONIK_DATA or the user's cache folder.
        tasks: ids to score; None = all whose files are there.
        variants: of "compatible", "fixed".
        prefix: put before every text; None = the encoder's default for sentences, and none for words.
        seed: of the bootstrap; the published classifiers keep their own.
        cache: keep embeddings in the user's cache folder, and take them from there.
        passport: add the records to the passport of a model that is given as a folder.
        dtype, device, trust_remote_code: of loading, for models by name that torch runs.
        progress: show bars, and tasks as they begin, on standard error.
        on_task: called with model and task instead.

    Raises:
        SlonikError: no such model, unknown task or variant, damaged data, or no data at all.
    """
    started = time.perf_counter()
    tell = teller(on_task, progress)
    loading = {"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code or None}
    found: list[EncoderScores] = []
    warnings: list[str] = []
    with shown(progress):
        for model in several(models):
            encoder = opened(model, **loading)
            scores = evaluate(
                encoder, data_folder(data_dir), tasks=tasks, variants=variants, prefix=prefix, use_cache=cache,
                seed=seed, on_task=partial(tell, encoder.name),
            )  # fmt: skip
            found.append(scores)
            warnings += scores.notes
            if passport and isinstance(model, str | Path):
                warnings += add_to_passport(model, scores.records)
            del encoder  # before the next one is loaded
    differences = compare(found)
    return Evaluation(
        records=(*(record for scores in found for record in scores.records), *differences),
        tables=(
            *map(per_model, found),
            *([differences_table(differences)] if differences else []),
            leaderboard(found),
        ),
        warnings=tuple(warnings),
        notes=tuple(note for scores in found for note in _notes(scores)),
        seconds=time.perf_counter() - started,
    )


def _notes(scores: EncoderScores) -> list[str]:
    """What of an encoder was not scored, and where its time went."""
    notes = []
    if scores.missing:
        names = "; ".join(f"{task} ({', '.join(files)})" for task, files in scores.missing.items())
        notes.append(
            f"{scores.model}: not scored, as their files are not there: {names}. Averages over them are left out; "
            "`slonik fetch encodechka` gets the files."
        )
    notes.append(
        f"{scores.model}: embeddings {scores.embedding_seconds:.1f} s ({scores.encoded} texts encoded, "
        f"{scores.reused} from the cache), classifiers and intervals {scores.classifier_seconds:.1f} s"
    )
    return notes


def per_model(evaluation: EncoderScores) -> Table:
    """Every task of one model: value and 95 % interval under both variants, and the pooling that was taken."""
    variants = list(dict.fromkeys(variant for variant, _ in evaluation.measured))
    lines: list[list[Content]] = []
    for task in (*TASKS, *AVERAGES):
        found = [evaluation.measured.get((variant, task)) for variant in variants]
        if any(found):
            lines.append([_name(task), *(cell for one in found for cell in _cells(one.record if one else None))])
    columns = ("task", *(part for variant in variants for part in (f"{variant} [95 %]", "taken")))
    return Table.of(f"{evaluation.model}: encodechka", columns, lines, ("speed: ms per text, on this machine now",))


def leaderboard(evaluations: Sequence[EncoderScores]) -> Table:
    """Measured rows above published ones; published values are the greatest over poolings on the test set."""
    rows = []
    for evaluation in evaluations:
        for variant in dict.fromkeys(variant for variant, _ in evaluation.measured):
            found = [evaluation.measured.get((variant, task)) for task in _COLUMNS]
            cells = [_three(item.record.value) if item else "" for item in found]
            rows.append(Row(tuple(map(Cell, (evaluation.model, variant, *cells)))))
    for row in PUBLISHED:
        cells = [_published(row.scores.get(task), row.source) for task in _COLUMNS]
        rows.append(Row(tuple(map(Cell, (row.model, "not measured here", *cells))), published=True))
    columns = ("model", "variant", *(_name(task) for task in _COLUMNS))
    note = "not measured here: published values (leaderboard, model cards); they compare with `compatible`"
    return Table("beside published models", columns, tuple(rows), (note,))


def differences_table(records: Sequence[Record]) -> Table:
    """Paired differences_table with interval and p-value."""
    lines: list[list[Content]] = [
        [
            record.model,
            record.variant,
            _name(record.task),
            Cell(f"{record.value:+.4f}", f"[{record.low:+.4f}, {record.high:+.4f}]"),
            f"{record.detail['p_value']:.3f}",
        ]
        for record in records
        if record.value is not None
    ]
    note = "paired bootstrap over test items; averages over all their tasks at once"
    return Table.of("differences_table", ("models", "variant", "task", "difference [95 %]", "p"), lines, (note,))


def _cells(record: Record | None) -> tuple[Cell, Cell]:
    """Value with interval, and what it was taken from."""
    if record is None or record.value is None:
        return Cell(""), Cell("")
    taken = "/".join(str(record.detail[part]) for part in ("pooling", "classifier") if part in record.detail)
    form = "{:.2f}" if record.task == "speed" else "{:.4f}"
    spread = f"[{form.format(record.low)}, {form.format(record.high)}]"
    return Cell(form.format(record.value), spread), Cell(taken)


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _published(value: float | None, source: str) -> str:
    if value is None:
        return ""
    digits = 2 if "leaderboard" in source and round(value, 2) == value else 3
    return f"{value:.{digits}f}"


def _name(task: str) -> str:
    return {"mean_s": "Mean S", "mean_s5": "Mean S5", "mean_sw": "Mean S+W"}.get(task, task.upper())
