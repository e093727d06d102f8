"""One encoder on one probing task: a probe on each layer, the best layer, and how sure all of it is.

Records: `accuracy` with `layer` for every layer (0 = embeddings) and without it for the best layer; `selectivity`
likewise, the accuracy minus that on control labels; with description lengths `compression` and `control_compression`
likewise. Whose vectors they are, of sentences or of words, is the business of `sentence_scores` and `word_scores`; what
several encoders have to do with each other is decided in `run`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_json, sha256_texts
from slonik.core.records import Record
from slonik.evaluation.statistics import Array, Interval, interval
from slonik.inspection.probing.codelength import Codelength, online_codelength
from slonik.inspection.probing.control import control_of
from slonik.inspection.probing.layers import (
    BestLayer,
    best_layer,
    interval_around,
    intervals,
    resampled_means,
)
from slonik.inspection.probing.probes import LogisticProbe, ProbeResult, fit_mlp, scale
from slonik.inspection.probing.tasks import PROTOCOL, SUITE, TaskData

PROBES = ("logistic", "mlp", "mdl")
POOLINGS = ("mean", "cls", "last")
MEAN = "mean"  # the average over tasks
_MANY_CLASSES = 20


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
        best: (task, variant) -> best layer, for paired comparisons. warnings: what makes values less than they seem.
        encoded, reused: texts encoded now and found on disk. encoding_seconds, probing_seconds: time of both.
    """

    model: str
    records: list[Record] = field(default_factory=list)
    best: dict[tuple[str, str], BestLayer] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    encoded: int = 0
    reused: int = 0
    encoding_seconds: float = 0.0
    probing_seconds: float = 0.0


def check_options(options: Options) -> None:
    """Refuse options that name nothing, or something unknown.

    Raises:
        SlonikError: of that.
    """
    for given, names in (("probes", options.probes), ("poolings", options.poolings), ("seeds", options.seeds)):
        if not names:
            raise SlonikError(f"--{given} names none: give one at least")
    for name in options.probes:
        lookup(name, dict.fromkeys(PROBES), "probe")
    for name in options.poolings:
        lookup(name, dict.fromkeys(POOLINGS), "pooling")


class Vectors(Protocol):
    """Vectors of texts, or of what they name, in every layer of an encoder."""

    def count(self, pooling: str) -> int:
        """Layers that there are vectors of, embeddings included."""

    def take(self, pooling: str, layer: int, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D) of one layer."""


def score_task(
    found: LayerScores, vectors: Vectors, data: TaskData, options: Options, pooling: str, weights: str, cut: set[str]
) -> None:
    """Add everything that is measured of one task under one pooling to `found`.

    Args:
        weights: hash of the encoder's. cut: texts of the task that the encoder did not read whole.
    """
    began = time.perf_counter()
    _Task(found, vectors, data, options, pooling, weights, cut).run()
    found.probing_seconds += time.perf_counter() - began


def add_means(found: LayerScores, options: Options) -> None:
    """Add the mean over tasks of every variant."""
    for variant in dict.fromkeys(variant for _, variant in found.best):
        members = {t: (best.accuracy.value, best.replicates) for (t, own), best in found.best.items() if own == variant}
        found.records += mean_over_tasks(variant, found.model, members, options.seed)


@dataclass
class _Task:
    """One encoder on one task under one pooling."""

    found: LayerScores
    vectors: Vectors
    data: TaskData
    options: Options
    pooling: str
    weights: str
    cut: set[str]

    def __post_init__(self) -> None:
        self.control = control_of(self.data) if self.options.control else None
        # one seed where a fit takes long
        many = len(self.data.classes) > _MANY_CLASSES
        self.control_seeds = self.options.seeds[:1] if many else self.options.seeds
        self.hashes = hashes_of(self.data) | {"weights": self.weights}
        if self.options.control and self.control is None:
            self.found.warnings.append(
                f"{self.data.task.id} has no control task: too few of its sentences share a word with another"
            )

    def run(self) -> None:
        results: dict[str, list[_Layer]] = {name: [] for name in self.options.probes if name != "mdl"}
        codes: list[_Code] = []
        sizes = np.cumsum([len(part) for part in (self.data.train, self.data.validation)])
        for layer in range(self.vectors.count(self.pooling)):
            vectors = self.vectors.take(self.pooling, layer, self.data.texts)
            features = scale(*np.split(vectors, sizes))
            control = self.control.features(vectors) if self.control else None
            if "logistic" in results:
                began = time.perf_counter()
                fitted = LogisticProbe(features).fit(self.data)
                hits = []
                if self.control and control:
                    probe = LogisticProbe(control)
                    hits = [
                        probe.fit(task, (fitted.setting,)).test
                        for task in map(self.control.labelled, self.control_seeds)
                        if len(task.classes) > 1
                    ]
                results["logistic"].append(_Layer([fitted], hits, time.perf_counter() - began))
            if "mlp" in results:
                began = time.perf_counter()
                runs = [fit_mlp(features, self.data, seed) for seed in self.options.seeds]
                hits = []
                if self.control and control:
                    for run, seed in zip(runs, self.control_seeds, strict=False):
                        task = self.control.labelled(seed)
                        if len(task.classes) > 1:
                            hits.append(fit_mlp(control, task, seed, (run.setting,)).test)
                results["mlp"].append(_Layer(runs, hits, time.perf_counter() - began))
            if "mdl" in self.options.probes:
                began = time.perf_counter()
                name, seeds = self.data.task.id, self.options.seeds
                code = online_codelength(features.train, self.data.train.labels, seeds, task=name)
                others = []
                if self.control and control:
                    tasks = [self.control.labelled(seed) for seed in self.control_seeds]
                    others = [
                        online_codelength(control.train, task.train.labels, (seed,), task=name)
                        for task, seed in zip(tasks, self.control_seeds, strict=False)
                        if len(task.classes) > 1
                    ]
                codes.append(_Code(code, others, time.perf_counter() - began))
        for name, layers in results.items():
            self._keep(name, layers)
        if codes:
            self._keep_codes(codes)

    def _variant(self, name: str) -> str:
        return name if self.pooling == "mean" else f"{name}_{self.pooling}"

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
        held = resampled_means(validation[best.layer][None], seed=seed, sample=f"{sample} va")[0]
        difference = best.accuracy.value - float(validation[best.layer].mean())
        gap = interval(difference, resampled[best.layer] - held)
        detail |= {"validation_accuracy": round(float(validation[best.layer].mean()), 4)}
        detail |= {"gap": {name: round(value, 4) for name, value in gap.fields.items()}}
        detail |= {"cut": {"tr": self._cut("train"), "va": self._cut("validation"), "te": self._cut("test")}}
        detail |= {"notes": list(self.data.notes)} if self.data.notes else {}
        self._add(name, "accuracy", best.accuracy, None, detail, sum(layer.seconds for layer in layers))
        if gap.low > 0 or gap.high < 0:
            self.found.warnings.append(
                f"{self.found.model}, {self._variant(name)}: {sample} is {best.accuracy.value:.3f} on the test and "
                f"{float(validation[best.layer].mean()):.3f} on validation in layer {best.layer}: the subsets differ"
            )
        if self.control and all(layer.control for layer in layers):
            controls = np.stack([np.mean(layer.control, axis=0) for layer in layers])
            self._selectivity(name, test, resampled, controls, best.layer)

    def _cut(self, part: str) -> int:
        return sum(text in self.cut for text in getattr(self.data, part).texts)

    def _selectivity(self, name: str, test: NDArray[Any], resampled: Array, control: NDArray[Any], chosen: int) -> None:
        assert self.control is not None
        sample, seed = f"{self.data.task.id} control", self.options.seed
        spread = resampled - resampled_means(control, seed=seed, sample=sample)
        facts = {"control": self.control.by, "control_sentences": control.shape[1]}
        for index, row in enumerate(spread):
            bounds = interval(float(test[index].mean() - control[index].mean()), row)
            detail = facts | {"control_accuracy": round(float(control[index].mean()), 4)}
            self._add(name, "selectivity", bounds, index, detail, None)
            if index == chosen:
                self._add(name, "selectivity", bounds, None, detail | {"layer": index}, None)

    def _keep_codes(self, codes: Sequence[_Code]) -> None:
        """Compression of every layer and of the one with the shortest code, with that of control labels beside."""
        bits = np.stack([code.own.per_sentence for code in codes])
        shortest = int(bits.sum(1).argmin())
        draws = resampled_means(bits, seed=self.options.seed, sample=f"{self.data.task.id} tr").argmin(0)
        low, high = np.percentile(draws, [2.5, 97.5])
        best = {
            "layer": shortest,
            "layer_low": min(shortest, int(low)),
            "layer_high": max(shortest, int(np.ceil(high))),
        }
        for index, code in enumerate(codes):
            self._code("compression", code.own, index, code.detail, code.seconds)
            if code.control:
                where = {"control": self.control.by if self.control else ""}
                self._code("control_compression", _joined(code.control), index, where, None)
        self._code("compression", codes[shortest].own, None, codes[shortest].detail | best, None)
        if codes[shortest].control:
            self._code("control_compression", _joined(codes[shortest].control), None, {"layer": shortest}, None)

    def _code(
        self, metric: str, code: Codelength, layer: int | None, detail: dict[str, Any], seconds: float | None
    ) -> None:
        facts = {"bits": [round(bits, 1) for bits in code.bits], "uniform_bits": round(code.uniform, 1)}
        facts |= {"settings": list(code.settings)}
        self._add("mdl", metric, Interval(code.compression, *code.interval), layer, facts | detail, seconds)

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
        self.found.records.append(
            probing_record(
                self.data.task.id, variant, self.found.model, metric, bounds, seed=self.options.seed, layer=layer,
                n=len(self.data.train if probe == "mdl" else self.data.test),
                seconds=None if seconds is None else round(seconds, 3),
                detail=detail | label_facts(self.data) | {"pooling": self.pooling, "prefix": self.options.prefix},
                hashes=self.hashes | {"protocol": protocol_of(self.data, variant, metric)},
            )
        )  # fmt: skip


@dataclass(frozen=True)
class _Layer:
    """Runs of one probe on one layer (one per seed), and what they got right on control labels."""

    runs: list[ProbeResult]
    control: list[NDArray[np.bool_]]
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


@dataclass(frozen=True)
class _Code:
    """Description length of a layer, and those of control labels (one per draw)."""

    own: Codelength
    control: list[Codelength]
    seconds: float

    @property
    def detail(self) -> dict[str, Any]:
        if not self.control:
            return {}
        return {"control_compression": round(_joined(self.control).compression, 4)}


def _joined(codes: Sequence[Codelength]) -> Codelength:
    """Draws of control labels as orders of one code; their uniform codes may differ where a class was not drawn."""
    return Codelength(
        np.concatenate([code.sentences for code in codes]), float(np.mean([code.uniform for code in codes])),
        codes[0].choice, tuple(setting for code in codes for setting in code.settings),
    )  # fmt: skip


def mean_over_tasks(
    variant: str, model: str, members: Mapping[str, tuple[float, Array]], seed: int, detail: Mapping[str, Any] = {}
) -> list[Record]:
    """The record of an accuracy averaged over tasks, each with its replicates, where there are several."""
    if len(members) < 2:
        return []
    value = float(np.mean([accuracy for accuracy, _ in members.values()]))
    bounds = interval_around(value, np.mean([replicates for _, replicates in members.values()], axis=0))
    detail = {**detail, "tasks": list(members)}
    return [probing_record(MEAN, variant, model, "accuracy", bounds, seed=seed, detail=detail)]


def label_facts(data: TaskData) -> dict[str, Any]:
    """For the detail of records: who made the labels and how often they are wrong, where that was a program."""
    return {"labels": dict(data.annotation)} if data.annotation.get("automatic") else {}


def hashes_of(data: TaskData) -> dict[str, str]:
    """Of a task's file and of the sentences that were taken from it."""
    return {"data": data.sha256, "texts": sha256_texts(data.texts)}


def protocol_of(data: TaskData, variant: str, metric: str) -> str:
    """Hash of what decides how a value is measured."""
    return sha256_json([PROTOCOL, variant, data.task.id, metric])


def probing_record(task: str, variant: str, model: str, metric: str, bounds: Interval, **fields: Any) -> Record:
    """A record of this suite."""
    return Record(suite=SUITE, task=task, variant=variant, model=model, metric=metric, **bounds.fields, **fields)
