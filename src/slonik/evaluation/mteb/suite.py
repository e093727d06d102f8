"""Measure encoders on mteb's tasks with mteb's own runner: records with intervals, and the files that its results take.

Data is read by mteb, from the hub or from its cache; tasks may be given as objects too. What a folder of results holds
of the same weights, prompts and mteb's version of a task is not measured again, and that is said.
"""

from __future__ import annotations

import difflib
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, missing_extra
from slonik.core.hashing import sha256_json
from slonik.core.numbers import check_count, check_seed
from slonik.core.records import Record
from slonik.evaluation.mteb.intervals import main_interval
from slonik.evaluation.mteb.models import EncoderForMteb, for_mteb
from slonik.evaluation.mteb.published import BENCHMARK, MAIN, SUITE
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, several, teller
from slonik.reporting.scores import score_tables

_SHORT = {"rus": BENCHMARK}


def mteb(
    models: Any,
    *,
    tasks: Any = "rus",
    prompts: Mapping[str, str] | None = None,
    results: str | Path | None = None,
    batch_size: int = 32,
    seed: int = 0,
    passport: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    pooling: str | None = None,
    trust_remote_code: bool = False,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Encoders on mteb's tasks, by its runner.

    Args:
        models: encoders, loaded or by name: folders, ONNX folders, hub ids, embedded:NAME.
        tasks: "rus" for MTEB(rus, v1.1), names of mteb's benchmarks or tasks, or task objects.
        prompts: name of a task, a task's type, "query" or "document" -> text put before it; None = the checkpoint's
            prefixes.
        results: folder for result files in the layout of mteb's results repository; None = they are not kept.
        batch_size: texts that mteb hands over at once.
        seed: of the bootstrap.
        passport: add the records to the passports of models that are folders.
        dtype, device, pooling, trust_remote_code: of loading, for models by name.

    Raises:
        SlonikError: no such model or task, or data that cannot be read.
        MissingExtra: mteb is not installed.
    """
    check_seed(seed)
    check_count("batch_size", batch_size)
    started = time.perf_counter()
    chosen, variants = chosen_tasks(tasks)
    options = {"dtype": dtype, "device": device, "pooling": pooling, "trust_remote_code": trust_remote_code or None}
    tell = teller(on_task, progress)
    records: list[Record] = []
    warnings: list[str] = []
    notes: list[str] = []
    with ExitStack() as stack:
        folder = Path(results) if results else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for given in several(models):
            model = for_mteb(given, prompts=prompts, **{k: v for k, v in options.items() if v is not None})
            own = []
            for task in chosen:
                tell(model.model_name, task.metadata.name)
                found, note = _measured(model, task, folder, batch_size, seed, variants[task.metadata.name])
                own.append(found)
                notes += [note] if note else []
            notes += _told_cut(model)
            records += own
            if passport:
                warnings += add_to_passport(model.model_name, own)
    if results:
        notes.append(f"files for mteb's results: {Path(results) / 'results'}")
    return Evaluation(
        records=tuple(records), tables=tuple(score_tables(records)), warnings=tuple(warnings),
        notes=tuple(dict.fromkeys(notes)), seconds=time.perf_counter() - started,
    )  # fmt: skip


def _told_cut(model: EncoderForMteb) -> list[str]:
    """A note for every task some of whose texts are longer than the model reads."""
    encoder = model.encoder
    done = "cut" if getattr(encoder, "long_texts", "truncate") == "truncate" else "averaged over windows"
    return [
        f"{model.model_name}, {task}: {count:,} of {model.texts[task]:,} texts are longer than the "
        f"{getattr(encoder, 'max_length', None)} tokens that it reads, and were {done}"
        for task, count in model.cut.items()
        if count
    ]


def chosen_tasks(tasks: Any) -> tuple[list[Any], dict[str, str]]:
    """mteb's task objects, and for each name the benchmark under whose protocol it stands ("" = none).

    Raises:
        SlonikError: an unknown name; the nearest is given.
        MissingExtra: mteb is not installed.
    """
    try:
        import mteb
    except ModuleNotFoundError as error:
        raise missing_extra("measuring on mteb's tasks", error) from None
    given = [tasks] if isinstance(tasks, str) or not isinstance(tasks, Iterable) else list(tasks)
    names = [part.strip() for one in given if isinstance(one, str) for part in _split(one)]
    found = [one for one in given if not isinstance(one, str)]
    variants = {task.metadata.name: "" for task in found}
    benchmarks = {one.name: one for one in mteb.get_benchmarks()}
    russian = {task.metadata.name for task in benchmarks[BENCHMARK].tasks} if BENCHMARK in benchmarks else set()
    for name in filter(None, names):
        full = _SHORT.get(name, name)
        if full in benchmarks:
            own = list(benchmarks[full].tasks)
            variants |= {task.metadata.name: full for task in own}
            found += own
            continue
        known = _task_names(mteb)
        if name not in known:
            every = sorted({*known, *benchmarks, *_SHORT})
            near = [one for one in every if one.lower().startswith(name.lower())]
            near = near or difflib.get_close_matches(name, every, n=1, cutoff=0.5)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise SlonikError(
                f"mteb has no task or benchmark {name!r}{hint}: give rus, or names that mteb.get_tasks() lists"
            )
        variants.setdefault(name, BENCHMARK if name in russian else "")
        found += list(mteb.get_tasks(tasks=[name]))
    if not found:
        raise SlonikError("no task of mteb was named: give rus, a benchmark or tasks")
    return list({task.metadata.name: task for task in found}.values()), variants


def _split(names: str) -> list[str]:
    """Names by commas; the comma of "MTEB(rus, v1.1)" parts nothing."""
    parts, depth = [""], 0
    for mark in names:
        depth += (mark == "(") - (mark == ")")
        if mark == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += mark
    return parts


def _task_names(mteb: Any) -> set[str]:
    from mteb.get_tasks import _TASKS_REGISTRY

    return set(_TASKS_REGISTRY)


def _measured(
    model: EncoderForMteb, task: Any, folder: Path, batch_size: int, seed: int, variant: str
) -> tuple[Record, str]:
    """The record of one model on one task, and a note where it was found in the folder of results."""
    import mteb
    from mteb.cache import ResultCache

    name = task.metadata.name
    cache, answers_folder = ResultCache(cache_path=folder), folder / "answers" / str(model.mteb_model_meta.revision)
    path = cache.get_task_result_path(name, model.mteb_model_meta)
    was_there = path.is_file()
    began = time.perf_counter()
    try:
        result = mteb.evaluate(
            model, [task], cache=cache, prediction_folder=answers_folder, show_progress_bar=False, co2_tracker=False,
            encode_kwargs={"batch_size": batch_size}, overwrite_strategy="only-missing",
        )  # fmt: skip
    except (OSError, ConnectionError) as error:
        raise SlonikError(f"the data of {name} cannot be read ({error}): mteb fetches it from the hub") from error
    seconds = time.perf_counter() - began
    found = next(iter(result.task_results))
    value = round(float(found.get_score()), 6)  # as its files have it
    scored, items, why = _interval(task, value, answers_folder / task.prediction_file_name, seed)
    detail: dict[str, Any] = {
        "main_metric": task.metadata.main_score, "type": task.metadata.type, "mteb_version": str(found.mteb_version),
        "prefixes": model.used.get(name) or "as in the result file", "splits": sorted(found.scores),
    }  # fmt: skip
    detail["prefix"] = "; ".join(f"{kind}: {text!r}" for kind, text in sorted(model.used.get(name, {}).items()) if text)
    if why:
        detail["interval"] = why
    protocol = sha256_json([SUITE, name, str(found.dataset_revision), task.metadata.main_score, sorted(found.scores)])
    hashes = {"data": str(found.dataset_revision), "protocol": protocol}
    if model.weights:
        hashes["weights"] = model.weights
    record = Record(
        suite=SUITE, task=name, variant=variant, model=model.model_name, metric=MAIN, value=value,
        low=scored.low if scored else None, high=scored.high if scored else None, n=items, seed=seed,
        seconds=round(seconds, 3), detail=detail, hashes=hashes,
    )  # fmt: skip
    note = (
        f"{model.model_name}: {name} was measured before with these weights and prompts ({path})" if was_there else ""
    )
    return record, note


def _interval(task: Any, value: float, path: Path, seed: int) -> tuple[Any, int | None, str]:
    if not path.is_file():
        return None, None, "no answers to items were kept"
    content = json.loads(path.read_text(encoding="utf-8"))
    answers = {subset: splits for subset, splits in content.items() if subset != "mteb_model_meta"}
    if not getattr(task, "data_loaded", False):
        task.load_data()
    return main_interval(task, value, answers, seed=seed)
