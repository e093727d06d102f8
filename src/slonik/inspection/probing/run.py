"""Probe encoders: read the tasks, encode their sentences once, fit a probe on every layer, say how sure it all is.

Records: `accuracy` with `layer` for every layer (0 = embeddings) and without it for the best layer; `selectivity`
likewise; `compression` where the description length is asked for; paired differences of the best layers; baselines and
what the paper printed. `probing` is all of it for models by name, `probe` one loaded encoder on tasks that were read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.array_store import prune_store
from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_json
from slonik.core.paths import cache_dir
from slonik.core.paths import data_dir as data_folder
from slonik.core.progress import shown
from slonik.core.protocols import Encoder
from slonik.core.records import Record
from slonik.data.fetch import fetch_command
from slonik.evaluation.encodechka.embeddings import LARGEST_BYTES, weights_of
from slonik.evaluation.statistics import Array, Interval, interval
from slonik.evaluation.suite import Evaluation, OnTask, add_to_passport, opened, several, task_names, teller
from slonik.inspection.probing.baselines import NAMES, available
from slonik.inspection.probing.layers import (
    BestLayer,
    LayerVectors,
    best_layer,
    interval_around,
    intervals,
    resampled_means,
)
from slonik.inspection.probing.probes import LogisticProbe, ProbeResult, fit_mlp, online_codelength, scale
from slonik.inspection.probing.report import probing_tables
from slonik.inspection.probing.tasks import (
    PROTOCOL,
    SUITE,
    Rows,
    TaskData,
    published_records,
    read_tasks,
    task_of_rows,
)

PROBES = ("logistic", "mlp", "mdl")
POOLINGS = ("mean", "cls", "last")
_MANY_CLASSES = 20
_MEAN = "mean"  # the average over tasks


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        probes: of PROBES. poolings: of POOLINGS. seeds: of control labels, networks and orders. prefix: before texts.
        control: whether control tasks are probed. use_cache: vectors on disk. seed: of the bootstrap.
    """

    probes: tuple[str, ...] = ("logistic",)
    poolings: tuple[str, ...] = ("mean",)
    seeds: tuple[int, ...] = (0, 1, 2)
    prefix: str | None = ""
    control: bool = True
    use_cache: bool = True
    seed: int = 0


@dataclass
class LayerScores:
    """What was found out about one encoder.

    Attributes:
        model: its name. records: everything that was measured.
        best: (task, variant) -> best layer, for paired comparisons.
        encoded, reused: texts encoded now and found on disk. encoding_seconds, probing_seconds: time of both.
    """

    model: str
    records: list[Record] = field(default_factory=list)
    best: dict[tuple[str, str], BestLayer] = field(default_factory=dict)
    encoded: int = 0
    reused: int = 0
    encoding_seconds: float = 0.0
    probing_seconds: float = 0.0


def probing(
    models: str | Path | Encoder | Iterable[str | Path | Encoder],
    *,
    data: Mapping[str, Rows] | Sequence[TaskData] | None = None,
    data_dir: str | Path | None = None,
    tasks: str | Sequence[str] | None = None,
    probes: Sequence[str] = ("logistic",),
    poolings: Sequence[str] = ("mean",),
    prefix: str | None = "",
    limit: int | None = None,
    seeds: int = 3,
    control: bool = True,
    baselines: bool = True,
    dtype: str | None = None,
    device: str | None = None,
    trust_remote_code: bool | None = None,
    use_cache: bool = True,
    seed: int = 0,
    passport: bool = False,
    progress: bool = False,
    on_task: OnTask | None = None,
) -> Evaluation:
    """Probe every layer of models on RuSentEval's tasks: accuracy, best layer and how sure it is, selectivity.

    Args:
        models: one or several: folders, hub ids, `embedded:NAME`, or loaded encoders. Names of baselines are passed
            over where these are measured anyway.
        data: tasks in Python instead of files: name -> (subset, label, sentence) rows, or `TaskData` read before.
        data_dir: folder with rusenteval/ in it; None = $SLONIK_DATA, or the user's cache folder.
        tasks: one name, or several; None = all whose files are there.
        probes: of "logistic", "mlp" (the original's second), "mdl" (description length).
        poolings: of "mean" (the original's), "cls", "last".
        prefix: text before every sentence; None = the model's own.
        limit: at most this many sentences per task.
        seeds: how many seeds of control labels, networks and description lengths.
        control: probe control tasks too, for selectivity.
        baselines: majority, length, TF-IDF, BPE and word vectors beside the models.
        dtype, device, trust_remote_code: how models are loaded by name.
        use_cache: keep vectors of all layers on disk, and reuse them.
        seed: of the bootstrap, and the first of `seeds`.
        passport: add the best-layer records to the passport of a model that is a folder.
        progress: show on standard error what is being done. on_task: called before each task instead.

    Raises:
        SlonikError: an unknown name, damaged data, none at all, or a model that cannot be loaded.
    """
    began = time.perf_counter()
    tell = teller(on_task, progress)
    found, missing = _tasks(data, data_dir, task_names(tasks), limit)
    options = Options(
        tuple(probes), tuple(poolings), tuple(range(seed, seed + seeds)), prefix, control, use_cache, seed
    )  # fmt: skip
    warnings = [note for task in found for note in task.notes]
    notes, scores = [], []
    with shown(progress):
        for model in several(models):
            if baselines and model in NAMES:
                continue
            encoder = opened(model, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
            own = probe(encoder, found, options, partial(tell, encoder.name))
            scores.append(own)
            notes.append(
                f"{own.model}: vectors {own.encoding_seconds:.1f} s ({own.encoded} texts encoded, {own.reused} from "
                f"the cache), probes {own.probing_seconds:.1f} s"
            )
            if passport and isinstance(model, str | Path):
                warnings += add_to_passport(model, [record for record in own.records if record.layer is None])
        records = [record for own in scores for record in own.records] + compare(scores, seed)
        if baselines:
            records += baseline_records(found, partial(tell, "baselines"), seed)
    records += published_records(found)
    if missing:
        names, command = ", ".join(missing), fetch_command("rusenteval", data_folder(data_dir))
        notes.append(f"not probed, as their files are not there: {names} (`{command}`)")
    return Evaluation(
        records=tuple(records), tables=tuple(probing_tables(records)), warnings=tuple(warnings), notes=tuple(notes),
        seconds=time.perf_counter() - began,
    )  # fmt: skip


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


def probe(
    encoder: Encoder,
    tasks: Sequence[TaskData],
    options: Options = Options(),
    on_task: Callable[[str], None] = lambda _: None,
) -> LayerScores:
    """Probe every layer of `encoder` on `tasks`; what has no layers (word vectors) counts as one, layer 0.

    Raises:
        SlonikError: an unknown probe or pooling, or none at all.
    """
    for given, names in (("probes", options.probes), ("poolings", options.poolings), ("seeds", options.seeds)):
        if not names:
            raise SlonikError(f"--{given} names none: give one at least")
    for name in options.probes:
        lookup(name, dict.fromkeys(PROBES), "probe")
    for name in options.poolings:
        lookup(name, dict.fromkeys(POOLINGS), "pooling")
    found = LayerScores(encoder.name)
    weights = str(weights_of(encoder))
    root = cache_dir() / "layers" if options.use_cache else None
    vectors = LayerVectors(encoder, options.poolings, options.prefix, root)
    vectors.prepare(text for data in tasks for text in data.texts)
    found.encoded, found.reused, found.encoding_seconds = vectors.encoded, vectors.reused, vectors.seconds
    for pooling in options.poolings:
        for data in tasks:
            on_task(data.task.id)
            began = time.perf_counter()
            _Task(found, vectors, data, options, pooling, weights).run()
            found.probing_seconds += time.perf_counter() - began
    for variant in dict.fromkeys(variant for _, variant in found.best):
        members = {t: (best.accuracy.value, best.replicates) for (t, own), best in found.best.items() if own == variant}
        found.records += _mean_over_tasks(variant, found.model, members, options.seed)
    if root is not None:
        prune_store(root, LARGEST_BYTES)
    return found


@dataclass
class _Task:
    """One encoder on one task under one pooling."""

    found: LayerScores
    vectors: LayerVectors
    data: TaskData
    options: Options
    pooling: str
    weights: str

    def run(self) -> None:
        results: dict[str, list[_Layer]] = {name: [] for name in self.options.probes if name != "mdl"}
        # one seed where a fit takes long
        control_seeds = self.options.seeds if len(self.data.classes) <= _MANY_CLASSES else self.options.seeds[:1]
        for layer in range(self.vectors.count(self.pooling)):
            parts = (self.data.train, self.data.validation, self.data.test)
            features = scale(*(self.vectors.take(self.pooling, layer, split.texts) for split in parts))
            began = time.perf_counter()
            probe = LogisticProbe(features)
            fitted = probe.fit(self.data)
            control = probe.control(self.data, fitted.setting, control_seeds) if self.options.control else None
            if "logistic" in results:
                results["logistic"].append(_Layer([fitted], control, time.perf_counter() - began))
            if "mlp" in results:
                began = time.perf_counter()
                runs = [fit_mlp(features, self.data, seed) for seed in self.options.seeds]
                results["mlp"].append(_Layer(runs, None, time.perf_counter() - began))
            if "mdl" in self.options.probes:
                self._codelength(features.train, layer, fitted.setting)
        for name, layers in results.items():
            self._keep(name, layers)

    def _variant(self, name: str) -> str:
        return name if self.pooling == "mean" else f"{name}_{self.pooling}"

    def _codelength(self, train: NDArray[np.float32], layer: int, setting: float) -> None:
        began = time.perf_counter()
        code = online_codelength(train, self.data, setting, self.options.seeds)
        values = code.compressions
        # orders of the sentences are all that varies: mean and two standard errors
        error = 2 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
        mean = float(values.mean())
        detail = {"bits": [round(bits, 1) for bits in code.bits], "uniform_bits": round(code.uniform, 1), "c": setting}
        bounds = Interval(mean, mean - error, mean + error)
        self._add("mdl", "compression", bounds, layer, detail, time.perf_counter() - began)

    def _keep(self, name: str, layers: list[_Layer]) -> None:
        """Records of one probe: of every layer, of the best one, and their selectivity."""
        test = np.stack([layer.share("test") for layer in layers])
        validation = np.stack([layer.share("validation") for layer in layers])
        sample, seed = self.data.task.id, self.options.seed
        resampled = resampled_means(test, seed=seed, sample=f"{sample} te")
        for index, (layer, bounds) in enumerate(zip(layers, intervals(test, resampled), strict=True)):
            detail = layer.detail(self.data) | {"validation_accuracy": round(float(validation[index].mean()), 4)}
            self._add(name, "accuracy", bounds, index, detail, layer.seconds)
        best = best_layer(validation, test, seed=seed, sample=sample)
        self.found.best[sample, self._variant(name)] = best
        detail = {"layer": best.layer, "layer_low": best.low, "layer_high": best.high}
        detail |= {"layer_share": round(best.share, 3), "layers": len(layers)}
        detail |= {"best_on_test": {"layer": best.test_layer, "accuracy": best.test_accuracy}}
        detail |= {"notes": list(self.data.notes)} if self.data.notes else {}
        self._add(name, "accuracy", best.accuracy, None, detail, sum(layer.seconds for layer in layers))
        controls = [layer.control for layer in layers if layer.control is not None]
        if len(controls) == len(layers):
            self._selectivity(name, test, np.stack(controls), best.layer)

    def _selectivity(self, name: str, test: NDArray[Any], control: NDArray[Any], chosen: int) -> None:
        difference = test - control
        spread = resampled_means(difference, seed=self.options.seed, sample=f"{self.data.task.id} te")
        for index, bounds in enumerate(intervals(difference, spread)):
            detail = {"control_accuracy": round(float(control[index].mean()), 4)}
            self._add(name, "selectivity", bounds, index, detail, None)
            if index == chosen:
                self._add(name, "selectivity", bounds, None, detail | {"layer": index}, None)

    def _add(
        self,
        probe: str,
        metric: str,
        bounds: Interval,
        layer: int | None,
        detail: dict[str, Any],
        seconds: float | None,
    ) -> None:
        variant = self._variant(probe)
        record = _record(
            self.data.task.id, variant, self.found.model, metric, bounds, seed=self.options.seed, layer=layer,
            n=len(self.data.test), seconds=None if seconds is None else round(seconds, 3),
            detail=detail | {"pooling": self.pooling, "prefix": self.options.prefix},
            hashes=_hashes(self.data, variant, metric) | {"weights": self.weights},
        )  # fmt: skip
        self.found.records.append(record)


@dataclass(frozen=True)
class _Layer:
    """Runs of one probe on one layer (one per seed), and its control task."""

    runs: list[ProbeResult]
    control: NDArray[np.float64] | None
    seconds: float

    def share(self, part: str) -> NDArray[np.float64]:
        """(n,) how often each sentence is right over the runs."""
        return np.asarray(np.mean([getattr(run, part) for run in self.runs], axis=0), dtype=np.float64)

    def detail(self, data: TaskData) -> dict[str, Any]:
        """The chosen setting, training accuracy, and the mean over classes of the share that is right."""
        classes = np.unique(data.test.labels)
        right = self.share("test")
        balanced = float(np.mean([right[data.test.labels == label].mean() for label in classes]))
        found: dict[str, Any] = {"setting": [run.setting for run in self.runs]}
        found["train_accuracy"] = round(float(np.mean([run.train_accuracy for run in self.runs])), 4)
        found["balanced_accuracy"] = round(balanced, 4)
        if len(self.runs) > 1:
            found["by_seed"] = [round(float(run.test.mean()), 4) for run in self.runs]
        return found


def _mean_over_tasks(
    variant: str, model: str, members: Mapping[str, tuple[float, Array]], seed: int, detail: Mapping[str, Any] = {}
) -> list[Record]:
    """The record of an accuracy averaged over tasks, each with its replicates, where there are several."""
    if len(members) < 2:
        return []
    value = float(np.mean([accuracy for accuracy, _ in members.values()]))
    bounds = interval_around(value, np.mean([replicates for _, replicates in members.values()], axis=0))
    detail = {**detail, "tasks": list(members)}
    return [_record(_MEAN, variant, model, "accuracy", bounds, seed=seed, detail=detail)]


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
            record = _record(
                data.task.id, "logistic", name, "accuracy", intervals(right[None], spread)[0], seed=seed,
                n=len(data.test), seconds=round(time.perf_counter() - began, 3), detail={"baseline": True},
                hashes=_hashes(data, "logistic", "accuracy"),
            )  # fmt: skip
            records.append(record)
    for name, members in spreads.items():
        records += _mean_over_tasks("logistic", name, members, seed, {"baseline": True})
    return records


def compare(scores: Sequence[LayerScores], seed: int = 0) -> list[Record]:
    """Paired differences of best-layer accuracy: every later model minus the first, per task and variant, and of their
    mean over tasks."""
    records = []

    def add(task: str, variant: str, model: str, pairs: Sequence[tuple[BestLayer, BestLayer]], **detail: Any) -> None:
        value = float(np.mean([best.accuracy.value - first.accuracy.value for first, best in pairs]))
        spread = np.mean([best.replicates - first.replicates for first, best in pairs], axis=0)
        detail = {"against": scores[0].model, "of": "accuracy", **detail}
        bounds = interval(value, spread)
        records.append(_record(task, variant, model, "difference", bounds, seed=seed, detail=detail))

    for other in scores[1:]:
        shared = {key: (scores[0].best[key], best) for key, best in other.best.items() if key in scores[0].best}
        for (task, variant), pair in shared.items():
            add(task, variant, other.model, [pair], layers=[best.layer for best in pair])
        for variant in dict.fromkeys(variant for _, variant in shared):
            pairs = {task: pair for (task, own), pair in shared.items() if own == variant}
            if len(pairs) >= 2:
                add(_MEAN, variant, other.model, list(pairs.values()), tasks=list(pairs))
    return records


def _hashes(data: TaskData, variant: str, metric: str) -> dict[str, str]:
    return {"data": data.sha256, "protocol": sha256_json([PROTOCOL, variant, data.task.id, metric])}


def _record(task: str, variant: str, model: str, metric: str, bounds: Interval, **fields: Any) -> Record:
    return Record(suite=SUITE, task=task, variant=variant, model=model, metric=metric, **bounds.fields, **fields)
