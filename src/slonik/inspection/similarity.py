"""How alike the layers of two models are on the same texts: unbiased CKA, and the correlation measures of Wu et al.

The paper of RuSentEval compares layers by the contextual correlation analysis of Wu et al. (2020): `maxcorr` (how well
each neuron correlates with its best partner; for two models their `mincorr`, the least over other models, is the same),
`linreg` (how well all neurons of the other layer together predict each neuron), `svcca` and `pwcca` (canonical
correlations). `cka` is linear CKA (Kornblith et al. 2019) with the unbiased estimator of HSIC (Song et al. 2012, as in
Nguyen et al. 2021): the plain one of independent noise is near 1 when there are no more texts than dimensions, this one
is 0 on average whatever their numbers. All are 1 for equal layers.

Every value stands beside its floor: the same measure when the texts of the second model are shuffled, so that nothing
is shared. Intervals of cka come from halves of the texts drawn without repetition: a bootstrap repeats texts, and a
text that is there twice is like itself. Texts that are given twice are taken once.

`similarity` encodes texts with two models and compares their layers. Shapes: N texts, D and E dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.progress import shown, track, warn_once
from slonik.core.records import Record
from slonik.evaluation.long_texts import warn_cut
from slonik.inspection import inspection_record, source_hashes
from slonik.inspection.inputs import Texts, open_transformer, texts_of
from slonik.inspection.intervals import Z
from slonik.inspection.twin import twin_of
from slonik.models.encoder import TorchEncoder

Matrix = NDArray[np.float64]
TEXTS = 1000
"""Texts of a file that are compared on where nothing else is said; there are a hundred sentences of our own."""
_ENOUGH_TEXTS = 100
_FEWEST_TEXTS = 4  # that unbiased HSIC is defined for
_FEWEST_FOR_INTERVAL = 2 * _FEWEST_TEXTS
_KEPT_VARIANCE = 0.99
# With no more texts than dimensions any layer predicts any other.
_NEEDS_TEXTS = ("linreg", "svcca", "pwcca")
_RIDGE = 1e-10
_RESAMPLES = 200
_SHUFFLES = 10


class Layer:
    """Vectors (N, D) of one layer, centred, with what measures need of them, each made once."""

    def __init__(self, vectors: NDArray[np.floating]) -> None:
        found: Matrix = np.asarray(vectors, dtype=np.float64)
        self.centred: Matrix = found - found.mean(0)

    def shuffled(self, order: NDArray[np.intp]) -> Layer:
        """The same vectors for other texts; what was made of them goes along."""
        other = Layer(self.centred[order])
        for name in ("unit", "basis", "principal"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name][order]
        return other

    @cached_property
    def unit(self) -> Matrix:
        """Neurons of length 1, 0 for constant ones."""
        norms = np.linalg.norm(self.centred, axis=0)
        return np.divide(self.centred, norms, out=np.zeros_like(self.centred), where=norms > 1e-12)

    @cached_property
    def basis(self) -> Matrix:
        """Orthonormal columns that span the neurons (N, rank)."""
        u, values = self._decomposed
        return u[:, values > 1e-8 * max(float(values.max(initial=0.0)), 1e-300)]

    @cached_property
    def principal(self) -> Matrix:
        """Orthonormal principal components that hold 99 % of the variance (N, K)."""
        u, values = self._decomposed
        share = np.cumsum(values**2) / max(float((values**2).sum()), 1e-300)
        return u[:, : int(np.searchsorted(share, _KEPT_VARIANCE)) + 1]

    @cached_property
    def _decomposed(self) -> tuple[Matrix, Matrix]:
        u, values, _ = np.linalg.svd(self.centred, full_matrices=False)
        return u, values


def unbiased_hsic(first: Layer, second: Layer) -> float:
    """HSIC_1 of Song et al. (2012, eq. 5) with linear kernels; 0 on average for independent layers. N > 3.

    With centred vectors a row of the kernel sums to 0, so without its diagonal d it sums to -d: no kernel is made.
    """
    x, y = first.centred, second.centred
    n = len(x)
    left, right = (x * x).sum(1), (y * y).sum(1)
    both = float((left * right).sum())
    if n < min(x.shape[1], y.shape[1]):  # by texts, where there are fewer of them
        shared = float(((x @ x.T) * (y @ y.T)).sum())
    else:
        shared = float(((x.T @ y) ** 2).sum())
    traces = float(left.sum() * right.sum()) / ((n - 1) * (n - 2))
    return (shared - both + traces - 2 / (n - 2) * both) / (n * (n - 3))


def _cka(first: Layer, second: Layer) -> float:
    own = unbiased_hsic(first, first), unbiased_hsic(second, second)
    return unbiased_hsic(first, second) / (own[0] * own[1]) ** 0.5 if min(own) > 0 else 0.0


def _maxcorr(first: Layer, second: Layer) -> float:
    return float(np.abs(first.unit.T @ second.unit).max(1).mean())


def _linreg(first: Layer, second: Layer) -> float:
    x = first.centred
    whole = (x * x).sum(0)
    explained = ((second.basis.T @ x) ** 2).sum(0)
    used = whole > _RIDGE * max(float(whole.max(initial=0.0)), 1e-300)
    return float(np.sqrt(np.clip(explained[used] / whole[used], 0.0, 1.0)).mean()) if used.any() else 0.0


def _svcca(first: Layer, second: Layer) -> float:
    found = np.linalg.svd(first.principal.T @ second.principal, compute_uv=False)
    return float(np.clip(found, 0.0, 1.0).mean()) if len(found) else 0.0


def _pwcca(first: Layer, second: Layer) -> float:
    u, correlations, _ = np.linalg.svd(first.basis.T @ second.basis, full_matrices=False)
    weights = np.abs((first.basis @ u).T @ first.centred).sum(1)
    return float((weights * np.clip(correlations, 0.0, 1.0)).sum() / weights.sum()) if weights.sum() else 0.0


_OF_LAYERS: dict[str, Callable[[Layer, Layer], float]] = {
    "cka": _cka, "maxcorr": _maxcorr, "linreg": _linreg, "svcca": _svcca, "pwcca": _pwcca,
}  # fmt: skip


def linear_cka(first: Matrix, second: Matrix) -> float:
    """Unbiased linear CKA of vectors (N, D), (N, E): HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) by `unbiased_hsic`.

    Below 0 where independent layers happen to be less alike than on average; 0 for a layer without any variance.

    Raises:
        SlonikError: fewer than four texts.
    """
    if len(first) < _FEWEST_TEXTS:
        raise SlonikError(f"unbiased CKA needs {_FEWEST_TEXTS} texts at least, there are {len(first)}")
    return _cka(Layer(first), Layer(second))


def maxcorr(first: Matrix, second: Matrix) -> float:
    """Mean over neurons of `first` of the greatest |correlation| with a neuron of `second`."""
    return _maxcorr(Layer(first), Layer(second))


def linreg(first: Matrix, second: Matrix) -> float:
    """Mean over neurons of `first` of the multiple correlation with all neurons of `second` (square root of R^2)."""
    return _linreg(Layer(first), Layer(second))


def svcca(first: Matrix, second: Matrix) -> float:
    """Mean canonical correlation of the principal components that hold 99 % of the variance (Raghu et al. 2017)."""
    return _svcca(Layer(first), Layer(second))


def pwcca(first: Matrix, second: Matrix) -> float:
    """Projection-weighted canonical correlation (Morcos et al. 2018, section 3, eq. 2).

    All canonical directions h of the whole layers, none cut off; the weight of one is the sum over the neurons z of
    `first` of |<h, z>|: how much of the layer it accounts for.
    """
    return _pwcca(Layer(first), Layer(second))


MEASURES: dict[str, Callable[[Matrix, Matrix], float]] = {
    "cka": linear_cka, "maxcorr": maxcorr, "linreg": linreg, "svcca": svcca, "pwcca": pwcca,
}  # fmt: skip


@dataclass(frozen=True)
class MostAlike:
    """The layer of the second model that is most like one of the first.

    Attributes:
        layer: its number. value: the measure. floor, floor_high: mean and greatest value over shuffled texts.
        low, high: 95 % interval of the value; layer_low, layer_high: the layers that 95 % of the halves prefer; None
            where there is none: other measures change with the number of texts, and four texts are the fewest for cka.
    """

    layer: int
    value: float
    floor: float
    floor_high: float
    low: float | None = None
    high: float | None = None
    layer_low: int | None = None
    layer_high: int | None = None


@dataclass(frozen=True)
class LayerSimilarity:
    """How alike the layers of two models are.

    Attributes:
        model, against: their names. texts: how many different texts they were compared on.
        grids: measure -> (layers of the first, layers of the second), embeddings first.
        best: measure -> per layer of the first, the layer most like it, with floor and interval.
        hashes: of the texts and both models' weights.
        twin: the same of the first model with random weights; None where it was not asked for.
    """

    model: str
    against: str
    texts: int
    grids: dict[str, Matrix]
    best: dict[str, tuple[MostAlike, ...]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    twin: LayerSimilarity | None = None

    @property
    def records(self) -> list[Record]:
        """One per pair of layers and measure; `layer` is the other model's, the task says which of the first.

        Those of the twin follow.
        """
        record = partial(inspection_record, self.model, n=self.texts, hashes=self.hashes)
        records = []
        for measure, grid in self.grids.items():
            for row, (line, best) in enumerate(zip(grid, self.best[measure], strict=True)):
                for column, value in enumerate(line):
                    detail: dict[str, object] = {"against": self.against}
                    ends: dict[str, float | None] = {}
                    if column == best.layer:
                        ends = {"low": best.low, "high": best.high}
                        detail |= {"floor": best.floor, "floor_high": best.floor_high}
                        detail |= {"layer_low": best.layer_low, "layer_high": best.layer_high}
                    records.append(
                        record(f"layer_{row}", measure, "similarity", float(value), layer=column, detail=detail, **ends)
                    )
        return records + (self.twin.records if self.twin is not None else [])


def similarity(
    model: str | Path | TorchEncoder,
    other: str | Path | TorchEncoder,
    texts: Texts = None,
    *,
    measures: Sequence[str] = ("cka",),
    prefix: str | None = None,
    twin: bool = True,
    progress: bool = False,
) -> LayerSimilarity:
    """How alike the layers of two models are, by the mean vectors of texts.

    Args:
        model, other: folders, hub ids, `embedded:NAME`, or loaded transformers.
        texts: a file (its first thousand are taken), or texts; None = a hundred Russian sentences of our own.
        measures: of MEASURES. prefix: before each text, None = each encoder's own. progress: show it on standard error.
        twin: compare the first model with random weights to the second too.

    Raises:
        SlonikError: no transformer, an unknown measure, or too few texts for it.
    """
    for measure in measures:
        _check_measure(measure)
    first, second = open_transformer(model), open_transformer(other)
    given = texts_of(texts, TEXTS)
    sample = list(dict.fromkeys(given))
    if len(sample) < len(given):
        warn_once(f"{len(given) - len(sample)} of {len(given)} texts are there before: each is compared on once")
    if len(sample) < _ENOUGH_TEXTS:
        warn_once(f"layers are compared on {len(sample)} texts: with fewer than {_ENOUGH_TEXTS} intervals are wide")
    for encoder in (first, second):
        warn_cut(encoder, sample, prefix)
    with shown(progress):
        vectors = [_vectors(encoder, sample, prefix) for encoder in (first, second)]
        _check_texts(vectors[0], vectors[1], measures)
        against = [Layer(layer) for layer in vectors[1]]
        beside = None
        if (random := twin_of(first, twin)) is not None:
            beside = _compared(random, second, _vectors(random, sample, prefix), against, measures, sample)
        found = _compared(first, second, vectors[0], against, measures, sample)
    return replace(found, twin=beside)


def _vectors(encoder: TorchEncoder, texts: Sequence[str], prefix: str | None) -> list[NDArray[np.floating]]:
    return list(encoder.encode_layers(texts, ["mean"], prefix=prefix)["mean"])


def _compared(
    model: TorchEncoder, other: TorchEncoder, vectors: Sequence[NDArray[np.floating]], against: Sequence[Layer],
    measures: Sequence[str], texts: Sequence[str],
) -> LayerSimilarity:  # fmt: skip
    """The layers of one model, whose vectors are given, beside those of the other."""
    layers = [Layer(layer) for layer in vectors]
    grids, best = {}, {}
    for measure in measures:
        grids[measure] = _grid(layers, against, measure)
        best[measure] = _most_alike(layers, against, measure, grids[measure])
    hashes = source_hashes(model, texts) | {"weights_against": other.weights_hash()}
    return LayerSimilarity(model.name, other.name, len(texts), grids, best, hashes)


def layer_similarity(
    first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]], measure: str = "cka"
) -> Matrix:
    """(layers of first, layers of second) similarity of every two layers.

    Args:
        first, second: vectors of every layer, (N, D) and (N, E), of the same texts in the same order.

    Raises:
        SlonikError: an unknown measure, different texts, or too few for the measure.
    """
    _check_measure(measure)
    _check_texts(first, second, [measure])
    return _grid([Layer(layer) for layer in first], [Layer(layer) for layer in second], measure)


def cka_interval(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[float, float, float]:
    """Unbiased linear CKA of two layers (N, D), (N, E) and its 95 % interval over texts, which must differ.

    From halves of the texts drawn without repetition (delete-half jackknife), which vary about the whole sample's value
    as this does about the truth; for independent layers more, so that the interval is rather too wide than too narrow.

    Raises:
        SlonikError: fewer than eight texts.
    """
    if len(first) < _FEWEST_FOR_INTERVAL:
        raise SlonikError(f"an interval of CKA needs {_FEWEST_FOR_INTERVAL} texts at least, there are {len(first)}")
    layers = [Layer(part) for part in (first, second)]
    value = _cka(*layers)
    low, high = _around(value, _halves([layers[0]], [layers[1]])[:, 0, 0])
    return value, low, high


def _check_measure(measure: str) -> None:
    if measure not in MEASURES:
        raise SlonikError(f"unknown measure of similarity {measure!r} (known: {', '.join(MEASURES)})")


def _check_texts(
    first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]], measures: Sequence[str]
) -> None:
    sizes = {len(layer) for layer in (*first, *second)}
    if len(sizes) != 1 or min(sizes) < _FEWEST_TEXTS:
        raise SlonikError(
            f"layers must have vectors of the same texts, {_FEWEST_TEXTS} at least; they have {sorted(sizes)}"
        )
    widest = max(layer.shape[1] for layer in (*first, *second))
    for measure in measures:
        if measure in _NEEDS_TEXTS and min(sizes) <= widest:
            raise SlonikError(
                f"{measure} is 1 by itself with {min(sizes)} texts for {widest} dimensions: give more texts (--texts, "
                "--limit), or take cka"
            )


def _grid(first: Sequence[Layer], second: Sequence[Layer], measure: str) -> Matrix:
    if measure == "cka":  # the kernels' lengths are the same in every pair
        lengths = [np.array([unbiased_hsic(layer, layer) for layer in model]) for model in (first, second)]
        shared = np.array([[unbiased_hsic(left, right) for right in second] for left in first])
        return _cosines(shared, *lengths)
    pairs = track(first, f"similarity by {measure}", len(first))
    return np.array([[_OF_LAYERS[measure](left, right) for right in second] for left in pairs])


def _cosines(shared: Matrix, rows: Matrix, columns: Matrix) -> Matrix:
    scale = np.sqrt(np.maximum(np.multiply.outer(rows, columns), 0.0))
    used = np.logical_and.outer(rows > 0, columns > 0)
    return np.divide(shared, scale, out=np.zeros_like(scale), where=used & (scale > 0))


def _most_alike(first: Sequence[Layer], second: Sequence[Layer], measure: str, grid: Matrix) -> tuple[MostAlike, ...]:
    """The best column of every row, what it is when texts are shuffled, and for cka how sure both are."""
    n = len(first[0].centred)
    halves = _halves(first, second) if measure == "cka" and n >= _FEWEST_FOR_INTERVAL else None
    rng = np.random.default_rng(derive_seed(0, "shuffled texts", n))
    orders = [rng.permutation(n) for _ in range(_SHUFFLES)]
    found = []
    for row, line in enumerate(grid):
        column = int(line.argmax())
        compare = _OF_LAYERS[measure]
        floors = [compare(first[row], second[column].shuffled(order)) for order in orders]
        best = MostAlike(column, float(line[column]), float(np.mean(floors)), float(max(floors)))
        if halves is not None:
            low, high = _around(best.value, halves[:, row, column])
            ends = np.percentile(halves[:, row].argmax(1), [2.5, 97.5])
            layers = min(column, int(np.floor(ends[0]))), max(column, int(np.ceil(ends[1])))
            best = MostAlike(column, best.value, best.floor, best.floor_high, low, high, *layers)
        found.append(best)
    return tuple(found)


def _around(value: float, halves: Matrix) -> tuple[float, float]:
    spread = Z * float(np.std(halves))
    return max(-1.0, value - spread), min(1.0, value + spread)


def _halves(first: Sequence[Layer], second: Sequence[Layer]) -> Matrix:
    """Unbiased CKA of every two layers on halves of the texts (B, layers, layers).

    HSIC_1 is the inner product of U-centred kernels without their diagonals (Szekely and Rizzo 2014), so all pairs of
    layers are one matrix product.
    """
    n = len(first[0].centred)
    kernels = [(layer.centred @ layer.centred.T).astype(np.float32) for layer in (*first, *second)]
    kernels = [kernel / max(float(np.abs(kernel).max()), 1e-30) for kernel in kernels]
    rng = np.random.default_rng(derive_seed(0, "cka", n))
    found = np.zeros((_RESAMPLES, len(first), len(second)))
    for place in range(_RESAMPLES):
        rows = np.sort(rng.permutation(n)[: n // 2])
        flat = np.stack([_u_centred(kernel[np.ix_(rows, rows)]).ravel() for kernel in kernels])
        left, right = flat[: len(first)], flat[len(first) :]
        lengths = np.einsum("ij,ij->i", flat, flat, dtype=np.float64)
        shared = (left @ right.T).astype(np.float64)
        found[place] = _cosines(shared, lengths[: len(first)], lengths[len(first) :])
    return found


def _u_centred(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    m = len(kernel)
    np.fill_diagonal(kernel, 0.0)
    sums = kernel.sum(1)
    kernel -= ((sums[:, None] + sums[None, :]) / (m - 2) - sums.sum() / ((m - 1) * (m - 2))).astype(np.float32)
    np.fill_diagonal(kernel, 0.0)
    return kernel
