"""encodechka over several encoders: each scored in turn, compared with the first, in tables beside published rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown
from slonik.core.protocols import Encoder
from slonik.evaluation.encodechka import tables
from slonik.evaluation.encodechka.comparison import compare
from slonik.evaluation.encodechka.run import EncoderScores, evaluate
from slonik.evaluation.encodechka.tasks import VARIANTS
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, opened, several, teller


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
            *map(tables.per_model, found),
            *([tables.differences(differences)] if differences else []),
            tables.leaderboard(found),
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
