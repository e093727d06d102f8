"""Probe an encoder: read the tasks, encode their sentences once, fit a probe on every layer, say how sure it all is.

Records: `accuracy` with `layer` for every layer (0 = embeddings) and without it for the best layer; `selectivity`
likewise; `compression` where the description length is asked for. Loading models and showing tables is the caller's
business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.array_store import prune_store
from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_json
from slonik.core.paths import cache_dir
from slonik.core.protocols import Encoder, LayerEncoder
from slonik.core.records import Record
from slonik.evaluation.encodechka.embeddings import LARGEST_BYTES, vectors_identity, weights_of
from slonik.evaluation.statistics import Array, Interval, interval
from slonik.inspection.probing.baselines import available
from slonik.inspection.probing.layers import BestLayer, best_layer, intervals, resampled_means
from slonik.inspection.probing.mdl import online_codelength
from slonik.inspection.probing.probes import LogisticProbe, ProbeResult, scale
from slonik.inspection.probing.readers import TaskData, find_file, read_task
from slonik.inspection.probing.store import LayerStore, prepare
from slonik.inspection.probing.tasks import FOLDER, PROTOCOL, SUITE, TASKS

PROBES = ("logistic", "mlp", "mdl")
POOLINGS = ("mean", "cls", "last")
_MANY_CLASSES = 20
MEAN = "mean"  # the average over tasks


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        probes: of PROBES. poolings: of POOLINGS. seeds: of control labels, networks and orders. prefix: before texts.
        limit: most sentences per task. control: whether control tasks are probed. use_cache: vectors on disk.
    """

    probes: tuple[str, ...] = ("logistic",)
    poolings: tuple[str, ...] = ("mean",)
    seeds: tuple[int, ...] = (0, 1, 2)
    prefix: str | None = ""
    limit: int | None = None
    control: bool = True
    use_cache: bool = True


@dataclass
class Probing:
    """What was found out about one encoder.

    Attributes:
        model: its name. records: all figures. best: (task, variant) -> best layer, for paired comparisons.
        encoded, reused: texts encoded now and found on disk. encoding_seconds, probing_seconds: time of both.
        stores: pooling -> vectors of all layers, for a look at neurons and similarity.
    """

    model: str
    records: list[Record] = field(default_factory=list)
    best: dict[tuple[str, str], BestLayer] = field(default_factory=dict)
    encoded: int = 0
    reused: int = 0
    encoding_seconds: float = 0.0
    probing_seconds: float = 0.0
    stores: dict[str, LayerStore] = field(default_factory=dict)


def read_tasks(
    folder: Path, names: Sequence[str] | None = None, *, limit: int | None = None
) -> tuple[list[TaskData], list[str]]:
    """The tasks whose files are in `folder/rusenteval` (or in `folder`), and the names of those that are not there.

    Raises:
        SlonikError: an unknown name, a damaged file, no file at all, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise SlonikError(f"--limit is {limit}: give 1 or more, or leave it out")
    wanted = [lookup(name, TASKS, "probing task") for name in names or TASKS]
    paths = {task.id: find_file(task, folder) for task in wanted}
    missing = [task for task, path in paths.items() if path is None]
    if len(missing) == len(wanted):
        raise SlonikError(
            f"there is no probing file such as {wanted[0].file} in {folder / FOLDER}: `slonik fetch rusenteval` gets "
            "the original ones, `slonik data probing TREEBANK --out DIR` builds them"
        )
    found = [read_task(path, TASKS[name], limit=limit) for name, path in paths.items() if path is not None]
    return found, missing


def probe(
    encoder: Encoder,
    tasks: Sequence[TaskData],
    options: Options = Options(),
    on_task: Callable[[str], None] = lambda _: None,
) -> Probing:
    """Probe every layer of `encoder` on `tasks`; what has no layers (word vectors) counts as one, layer 0.

    Raises:
        SlonikError: an unknown probe or pooling, or none at all.
    """
    layered = encoder if isinstance(encoder, LayerEncoder) else _OneLayer(encoder)
    for given, names in (("probes", options.probes), ("poolings", options.poolings), ("seeds", options.seeds)):
        if not names:
            raise SlonikError(f"--{given} names none: give one at least")
    for name in options.probes:
        lookup(name, dict.fromkeys(PROBES), "probe")
    for name in options.poolings:
        lookup(name, dict.fromkeys(POOLINGS), "pooling")
    found = Probing(encoder.name)
    weights = str(weights_of(encoder))
    root = cache_dir() / "layers" if options.use_cache else None
    own = vectors_identity(encoder, options.prefix)
    found.stores = {name: LayerStore(layered, name, options.prefix, root, own) for name in options.poolings}
    done = prepare(list(found.stores.values()), (text for data in tasks for text in data.texts))
    found.encoded, found.reused, found.encoding_seconds = done.encoded, done.reused, done.seconds
    for pooling, store in found.stores.items():
        for data in tasks:
            on_task(data.task.id)
            began = time.perf_counter()
            _Task(found, store, data, options, pooling, weights).run()
            found.probing_seconds += time.perf_counter() - began
    found.records += _averages(found)
    if root is not None:
        prune_store(root, LARGEST_BYTES)
    return found


def _averages(found: Probing) -> list[Record]:
    """Best-layer accuracy averaged over tasks, where there are several; every task's sentences resampled apart."""
    records = []
    for variant in dict.fromkeys(variant for _, variant in found.best):
        members = {task: best for (task, own), best in found.best.items() if own == variant}
        if len(members) < 2:
            continue
        values = np.mean([best.replicates for best in members.values()], axis=0)
        bounds = interval(float(np.mean([best.accuracy.value for best in members.values()])), values)
        records.append(_mean(variant, found.model, bounds, {"tasks": list(members)}))
    return records


class _OneLayer:
    """An encoder of one vector per text in the form of a model with one layer."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.dimension = encoder.name, encoder.dimension
        self.encode, self.describe = encoder.encode, encoder.describe

    def encode_layers(
        self, texts: Sequence[str], poolings: Sequence[str] = ("mean",), *, prefix: str | None = ""
    ) -> dict[str, NDArray[np.float16]]:
        """The text's vector, whatever the pooling."""
        vectors = self.encode(texts, prefix=prefix).astype(np.float16)[None]
        return dict.fromkeys(poolings, vectors)


def baseline_records(tasks: Sequence[TaskData], on_task: Callable[[str], None] = lambda _: None) -> list[Record]:
    """Accuracy of every baseline on every task, named as models, variant "logistic"."""
    records = []
    methods = available()
    spreads: dict[str, list[tuple[float, Array]]] = {}
    for data in tasks:
        on_task(data.task.id)
        for name, method in methods.items():
            began = time.perf_counter()
            right = method(data).astype(np.float32)
            spread = resampled_means(right[None], seed=0, sample=f"{data.task.id} te")
            spreads.setdefault(name, []).append((float(right.mean()), spread[0]))
            record = _record(data, "logistic", name, "accuracy", intervals(right[None], spread)[0])
            seconds = round(time.perf_counter() - began, 3)
            records.append(record.model_copy(update={"seconds": seconds, "detail": {"baseline": True}}))
    for name, found in spreads.items() if len(tasks) > 1 else ():
        value = float(np.mean([accuracy for accuracy, _ in found]))
        bounds = interval(value, np.mean([spread for _, spread in found], axis=0))
        detail = {"baseline": True, "tasks": [data.task.id for data in tasks]}
        records.append(_mean("logistic", name, bounds, detail))
    return records


def _mean(variant: str, model: str, bounds: Interval, detail: dict[str, Any]) -> Record:
    low, high = min(bounds.low, bounds.value), max(bounds.high, bounds.value)
    return Record(suite=SUITE, task=MEAN, variant=variant, model=model, metric="accuracy", value=bounds.value, low=low,
                  high=high, seed=0, detail=detail)  # fmt: skip


@dataclass
class _Task:
    """One encoder on one task under one pooling."""

    found: Probing
    store: LayerStore
    data: TaskData
    options: Options
    pooling: str
    weights: str

    def run(self) -> None:
        results: dict[str, list[_Layer]] = {name: [] for name in self.options.probes if name != "mdl"}
        for layer in range(self.store.layers):
            parts = (self.data.train, self.data.validation, self.data.test)
            features = scale(*(self.store.layer(split.texts, layer) for split in parts))
            began = time.perf_counter()
            probe = LogisticProbe(features)
            fitted = probe.fit(self.data)
            control = probe.control(self.data, fitted.setting, self._control_seeds()) if self.options.control else None
            if "logistic" in results:
                results["logistic"].append(_Layer([fitted], control, time.perf_counter() - began))
            if "mlp" in results:
                from slonik.inspection.probing.mlp import fit_mlp

                began = time.perf_counter()
                runs = [fit_mlp(features, self.data, seed) for seed in self.options.seeds]
                results["mlp"].append(_Layer(runs, None, time.perf_counter() - began))
            if "mdl" in self.options.probes:
                self._codelength(features.train, layer, fitted.setting)
        for name, layers in results.items():
            self._keep(name, layers)

    def _control_seeds(self) -> tuple[int, ...]:
        """One seed where a fit takes long."""
        return self.options.seeds if len(self.data.classes) <= _MANY_CLASSES else self.options.seeds[:1]

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
        test = np.stack([layer.share("test") for layer in layers])
        validation = np.stack([layer.share("validation") for layer in layers])
        sample = self.data.task.id
        resampled = resampled_means(test, seed=0, sample=f"{sample} te")
        for index, (layer, bounds) in enumerate(zip(layers, intervals(test, resampled), strict=True)):
            detail = layer.detail(self.data) | {"validation_accuracy": round(float(validation[index].mean()), 4)}
            self._add(name, "accuracy", bounds, index, detail, layer.seconds)
        best = best_layer(validation, test, seed=0, sample=sample)
        self.found.best[sample, self._variant(name)] = best
        detail = {"layer": best.layer, "layer_low": best.low, "layer_high": best.high}
        detail |= {"layer_share": round(best.share, 3), "layers": len(layers)}
        detail |= {"best_on_test": {"layer": best.test_layer, "accuracy": best.test_accuracy}}
        detail |= {"notes": list(self.data.notes)} if self.data.notes else {}
        self._add(name, "accuracy", best.accuracy, None, detail, sum(layer.seconds for layer in layers))
        if all(layer.control is not None for layer in layers):
            self._selectivity(name, test, np.stack([layer.control for layer in layers]), best.layer)  # type: ignore[misc]

    def _selectivity(self, name: str, test: NDArray[Any], control: NDArray[Any], chosen: int) -> None:
        difference = test - control
        spread = resampled_means(difference, seed=0, sample=f"{self.data.task.id} te")
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
        record = _record(self.data, self._variant(probe), self.found.model, metric, bounds)
        update = {"layer": layer, "seconds": None if seconds is None else round(seconds, 3)}
        shared = {"pooling": self.pooling, "prefix": self.options.prefix}
        hashes = record.hashes | {"weights": self.weights}
        self.found.records.append(record.model_copy(update={**update, "detail": detail | shared, "hashes": hashes}))


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


def compare(probings: Sequence[Probing]) -> list[Record]:
    """Paired differences of best-layer accuracy: every later model minus the first, per task and variant, and of their
    mean over tasks."""
    records = []
    for other in probings[1:]:
        shared = {key: (probings[0].best[key], best) for key, best in other.best.items() if key in probings[0].best}
        for (task, variant), (first, best) in shared.items():
            value = best.accuracy.value - first.accuracy.value
            detail = {"layers": [first.layer, best.layer]}
            spread = best.replicates - first.replicates
            records.append(
                _difference(task, variant, (probings[0].model, other.model), interval(value, spread), detail)
            )
        for variant in dict.fromkeys(variant for _, variant in shared):
            pairs = {task: pair for (task, own), pair in shared.items() if own == variant}
            if len(pairs) < 2:
                continue
            value = float(np.mean([best.accuracy.value - first.accuracy.value for first, best in pairs.values()]))
            spread = np.mean([best.replicates - first.replicates for first, best in pairs.values()], axis=0)
            names = (probings[0].model, other.model)
            records.append(_difference(MEAN, variant, names, interval(value, spread), {"tasks": list(pairs)}))
    return records


def _difference(task: str, variant: str, models: tuple[str, str], bounds: Interval, detail: dict[str, Any]) -> Record:
    return Record(
        suite=SUITE,
        task=task,
        variant=variant,
        model=models[1],
        metric="difference",
        value=bounds.value,
        low=bounds.low,
        high=bounds.high,
        seed=0,
        detail={"against": models[0], "of": "accuracy", **detail},
    )


def _record(data: TaskData, variant: str, model: str, metric: str, bounds: Interval) -> Record:
    return Record(
        suite=SUITE,
        task=data.task.id,
        variant=variant,
        model=model,
        metric=metric,
        value=bounds.value,
        low=bounds.low,
        high=bounds.high,
        n=len(data.test),
        seed=0,
        hashes={"data": data.sha256, "protocol": sha256_json([PROTOCOL, variant, data.task.id, metric])},
    )
