"""Probe encoders by name: read the tasks, probe each model, its twin and the baselines, compare.

`probing` is all of it; what is measured of one encoder is in `scores`. Records of several models: paired differences of
the best layers; baselines, among them the model's own architecture with random weights; what the paper printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.numbers import check_count, check_seed
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown
from slonik.core.protocols import Encoder, LayerEncoder
from slonik.core.records import Record
from slonik.data.fetch import fetch_command
from slonik.evaluation.statistics import Array, interval
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, opened, several, task_names, teller
from slonik.inspection.probing.baselines import NAMES, available
from slonik.inspection.probing.layers import BestLayer, intervals, resampled_means
from slonik.inspection.probing.report import probing_tables
from slonik.inspection.probing.scores import (
    MEAN,
    LayerScores,
    Options,
    hashes_of,
    label_facts,
    mean_over_tasks,
    probing_record,
    protocol_of,
)
from slonik.inspection.probing.sentence_scores import probe
from slonik.inspection.probing.tasks import Rows, TaskData, published_records, read_tasks, task_of_rows
from slonik.inspection.probing.word_scores import probe_words, word_baselines
from slonik.inspection.probing.words import (
    TREE,
    Treebank,
    WordTask,
    asked,
    entity_task,
    read_treebank,
    treebank_tasks,
)
from slonik.inspection.twin import random_twin
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import is_exported
from slonik.models.opening import open_encoder


def probing(
    models: str | Path | Encoder | Iterable[str | Path | Encoder],
    *,
    data: Mapping[str, Rows] | Sequence[TaskData] | None = None,
    data_dir: str | Path | None = None,
    tasks: str | Sequence[str] | None = None,
    treebank: str | Path | Sequence[str | Path] | None = None,
    asks: str | Sequence[str] | None = None,
    entities: str | Path | None = None,
    probes: Sequence[str] = ("logistic",),
    poolings: Sequence[str] = ("mean",),
    prefix: str | None = "",
    limit: int | None = None,
    seeds: int = 3,
    control: bool = True,
    baselines: bool = True,
    twin: bool | None = None,
    dtype: str | None = None,
    device: str | None = None,
    trust_remote_code: bool | None = None,
    use_cache: bool = True,
    seed: int = 0,
    passport: bool = False,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Probe every layer of models on tasks of sentences: accuracy, best layer and how sure it is, selectivity.

    Args:
        models: one or several: folders, hub ids, `embedded:NAME`, or loaded encoders. Names of baselines are passed
            over where these are measured anyway.
        data: tasks in Python instead of files: name -> (subset, label, sentence) rows, or `TaskData` read before.
        data_dir: folder with rusenteval/ in it; None = $SLONIK_DATA, or the user's cache folder.
        tasks: one name, or several, of RuSentEval's or of any file of their form; None = all whose files are there.
        treebank: files in CoNLL-U whose words and trees are probed; tasks of sentences are then taken only where they
            are asked for (`data`, `data_dir` or `tasks`).
        asks: of `slonik.inspection.probing.words.ASKS`: what is asked of the treebank; None = everything.
        entities: annotated texts in any format of `slonik data convert`, of whose entities the types are probed.
        probes: of "logistic", "mlp" (the original's second), "mdl" (description length).
        poolings: of "mean" (the original's), "cls", "last".
        prefix: text before every sentence; None = the model's own.
        limit: at most this many sentences per task.
        seeds: how many seeds of control labels, networks and description lengths.
        control: probe control tasks too, for selectivity.
        baselines: majority, length, TF-IDF, BPE, word vectors and each model's twin with random weights beside them.
        twin: False leaves the twins out of the baselines: encoding with them takes as long as with the models.
        dtype, device, trust_remote_code: how models are loaded by name.
        use_cache: keep vectors of all layers on disk, and reuse them.
        seed: of the bootstrap, and the first of `seeds`.
        passport: add the best-layer records to the passport of a model that is a folder.
        progress: show on standard error what is being done. on_task: called before each task instead.

    Raises:
        SlonikError: an unknown name, damaged data, none at all, or a model that cannot be loaded.
    """
    check_seed(seed)
    check_count("seeds", seeds)
    check_count("limit", limit)
    began = time.perf_counter()
    tell = teller(on_task, progress)
    banks = [] if treebank is None else [treebank] if isinstance(treebank, str | Path) else list(treebank)
    if asks is not None and not banks:
        raise SlonikError("--asks says what is asked of a treebank: give one with --treebank")
    if twin is not None and not baselines:
        raise SlonikError("the twin with random weights is one of the baselines, which are left out: give one of both")
    found: list[TaskData] = []
    missing: list[str] = []
    if not (banks or entities) or data is not None or data_dir is not None or tasks is not None:
        found, missing = _tasks(data, data_dir, task_names(tasks), limit)
    options = Options(
        tuple(probes), tuple(poolings), tuple(range(seed, seed + seeds)), prefix, control, use_cache, seed
    )  # fmt: skip
    words, bank = _word_tasks(banks, task_names(asks), entities, limit, options)
    warnings = [note for task in [*found, *(own.data for own in words)] for note in task.notes]
    warnings += bank.notes if bank is not None and not words else ()
    notes: list[str] = []
    scores: list[LayerScores] = []
    twins: list[Record] = []
    with shown(progress):
        for model in several(models):
            if baselines and model in NAMES:
                continue
            encoder = _with_layers(model, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
            if isinstance(model, str | Path) and is_exported(model) and not isinstance(encoder, LayerEncoder):
                warnings.append(f"{encoder.name} shows no layers: its sentence vector is probed, as layer 0")
            own = probe(encoder, found, options, partial(tell, encoder.name)) if found else LayerScores(encoder.name)
            if words or bank:
                if not isinstance(encoder, TorchEncoder):
                    raise SlonikError(f"{encoder.name} is no transformer: its words have no vectors in layers to probe")
                _add(own, probe_words(encoder, words, bank, options, partial(tell, encoder.name)))
            scores.append(own)
            warnings += own.warnings
            if baselines and twin is not False and isinstance(encoder, TorchEncoder):
                try:
                    twins += _twin_records(random_twin(encoder), found, words, bank, options, tell)
                except SlonikError as error:
                    warnings.append(f"no twin with random weights is beside {own.model}: {error}")
            notes.append(
                f"{own.model}: vectors {own.encoding_seconds:.1f} s ({own.encoded} texts encoded, {own.reused} from "
                f"the cache), probes {own.probing_seconds:.1f} s"
            )
            if passport and isinstance(model, str | Path):
                warnings += add_to_passport(model, [record for record in own.records if record.layer is None])
        records = [record for own in scores for record in own.records] + compare(scores, seed)
        if baselines:
            records += baseline_records(found, partial(tell, "baselines"), seed)
            records += word_baselines(words, bank, options, partial(tell, "baselines")) + twins
    records += published_records(found)
    if any(task.annotation.get("automatic") and task.annotation["label_error"] is None for task in found):
        notes.append("labels of an annotator whose errors were not estimated: build the tasks with --gold TREEBANK")
    if missing:
        names, command = ", ".join(missing), fetch_command("rusenteval", data_folder(data_dir))
        notes.append(f"not probed, as their files are not there: {names} (`{command}`)")
    return Evaluation(
        records=tuple(records), tables=tuple(probing_tables(records)), warnings=tuple(warnings), notes=tuple(notes),
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _with_layers(model: str | Path | Encoder, **options: Any) -> Encoder:
    """The model in torch, which shows layers, also where an exported model is installed with its weights."""
    chosen = {name: value for name, value in options.items() if value is not None}
    if isinstance(model, str | Path) and is_exported(model):
        try:
            encoder = open_encoder(model, backend="torch", **chosen)
        except SlonikError:  # its ONNX files alone are there
            return opened(model, **options)
        encoder.name = str(model)
        return encoder
    return opened(model, **options)


def _add(own: LayerScores, more: LayerScores) -> None:
    """What was found of words beside what was found of sentences."""
    own.records += more.records
    own.best |= more.best
    own.warnings += more.warnings
    own.encoded += more.encoded
    own.encoding_seconds += more.encoding_seconds
    own.probing_seconds += more.probing_seconds


def _word_tasks(
    banks: Sequence[str | Path], asks: Sequence[str] | None, entities: str | Path | None, limit: int | None,
    options: Options,
) -> tuple[list[WordTask], Treebank | None]:  # fmt: skip
    """Tasks of words, and the treebank whose trees are asked for."""
    if (banks or entities) and options.poolings != ("mean",):
        raise SlonikError("--poolings is for sentences: a word's vector is the mean of its tokens")
    found: list[WordTask] = []
    bank = None
    if banks:
        names = asked(asks)
        bank = read_treebank([Path(path) for path in banks], limit=limit)
        found += treebank_tasks(bank, [name for name in names if name != TREE])
        if TREE not in names:
            bank = None
    if entities is not None:
        found.append(entity_task(Path(entities), limit=limit))
    return found, bank


def _twin_records(
    twin: TorchEncoder, tasks: Sequence[TaskData], words: Sequence[WordTask], bank: Treebank | None, options: Options,
    tell: OnTask,
) -> list[Record]:  # fmt: skip
    """What a model's architecture gives with random weights, as a baseline."""
    alone = replace(options, control=False)
    own = probe(twin, tasks, alone, partial(tell, twin.name)) if tasks else LayerScores(twin.name)
    if words or bank:
        _add(own, probe_words(twin, words, bank, alone, partial(tell, twin.name)))
    return [r.model_copy(update={"detail": r.detail | {"baseline": True}}) for r in own.records]


def _tasks(
    data: Mapping[str, Rows] | Sequence[TaskData] | None, data_dir: str | Path | None, names: Sequence[str] | None,
    limit: int | None,
) -> tuple[list[TaskData], list[str]]:  # fmt: skip
    """The tasks, and the names of those whose files are not there."""
    if data is None:
        return read_tasks(data_folder(data_dir), names, limit=limit)
    if isinstance(data, Mapping):
        data = [task_of_rows(name, rows, limit=limit) for name, rows in data.items()]
    found = [task for task in data if not names or task.task.id in names]
    if not found:
        raise SlonikError("there is no probing task in the data: give at least one")
    return found, []


def baseline_records(
    tasks: Sequence[TaskData], on_task: Callable[[str], None] = lambda _: None, seed: int = 0
) -> list[Record]:
    """Accuracy of every baseline on every task, named as models, variant "logistic"."""
    records = []
    methods = available()
    spreads: dict[str, dict[str, tuple[float, Array]]] = {}
    for data in tasks:
        on_task(data.task.id)
        for name, method in methods.items():
            began = time.perf_counter()
            right = method(data).astype(np.float32)
            spread = resampled_means(right[None], seed=seed, sample=f"{data.task.id} te")
            spreads.setdefault(name, {})[data.task.id] = (float(right.mean()), spread[0])
            record = probing_record(
                data.task.id, "logistic", name, "accuracy", intervals(right[None], spread)[0], seed=seed,
                n=len(data.test), seconds=round(time.perf_counter() - began, 3),
                detail={"baseline": True} | label_facts(data),
                hashes=hashes_of(data) | {"protocol": protocol_of(data, "logistic", "accuracy")},
            )  # fmt: skip
            records.append(record)
    for name, members in spreads.items():
        records += mean_over_tasks("logistic", name, members, seed, {"baseline": True})
    return records


def compare(scores: Sequence[LayerScores], seed: int = 0) -> list[Record]:
    """Paired differences of best-layer accuracy: every later model minus the first, per task and variant, and of their
    mean over tasks."""
    records: list[Record] = []
    known = [record for own in scores[:1] for record in own.records if "labels" in record.detail]
    labels = {(record.task, record.variant): {"labels": record.detail["labels"]} for record in known}

    def add(task: str, variant: str, model: str, pairs: Sequence[tuple[BestLayer, BestLayer]], **detail: Any) -> None:
        value = float(np.mean([best.accuracy.value - first.accuracy.value for first, best in pairs]))
        spread = np.mean([best.replicates - first.replicates for first, best in pairs], axis=0)
        detail = {"against": scores[0].model, "of": "accuracy", **detail, **labels.get((task, variant), {})}
        bounds = interval(value, spread)
        records.append(probing_record(task, variant, model, "difference", bounds, seed=seed, detail=detail))

    for other in scores[1:]:
        shared = {key: (scores[0].best[key], best) for key, best in other.best.items() if key in scores[0].best}
        for (task, variant), pair in shared.items():
            add(task, variant, other.model, [pair], layers=[best.layer for best in pair])
        for variant in dict.fromkeys(variant for _, variant in shared):
            pairs = {task: pair for (task, own), pair in shared.items() if own == variant}
            if len(pairs) >= 2:
                add(MEAN, variant, other.model, list(pairs.values()), tasks=list(pairs))
    return records
