"""How alike the layers of two models are on the same texts: linear CKA, and the correlation measures of Wu et al.

The paper of RuSentEval compares layers by the contextual correlation analysis of Wu et al. (2020): `maxcorr` (how well
each neuron correlates with its best partner; for two models their `mincorr`, the least over other models, is the same),
`linreg` (how well all neurons of the other layer together predict each neuron), `svcca` and `pwcca` (canonical
correlations). Linear CKA (Kornblith et al. 2019) suits small samples best: canonical measures approach 1 by themselves
when there are not many more texts than dimensions. All are 1 for equal layers.

`similarity` encodes texts with two models and compares their layers. Shapes: N texts, D and E dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.inspection import inspection_record
from slonik.inspection.inputs import Texts, open_transformer, texts_of
from slonik.inspection.intervals import Z
from slonik.models.encoder import TorchEncoder

Matrix = NDArray[np.float64]
_KEPT_VARIANCE = 0.99
# With no more texts than dimensions any layer predicts any other.
_NEEDS_TEXTS = ("linreg", "svcca", "pwcca")
_RIDGE = 1e-10
_RESAMPLES = 200


def linear_cka(first: Matrix, second: Matrix) -> float:
    """|X'Y|^2 / (|X'X| |Y'Y|), Frobenius norms of centred vectors (N, D), (N, E)."""
    x, y = _centred(first), _centred(second)
    if len(x) < min(x.shape[1], y.shape[1]):  # by texts, where there are fewer of them
        left, right = x @ x.T, y @ y.T
        shared = float((left * right).sum())
        own = float(np.linalg.norm(left) * np.linalg.norm(right))
    else:
        shared = float(((x.T @ y) ** 2).sum())
        own = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return shared / own if own else 0.0


def maxcorr(first: Matrix, second: Matrix) -> float:
    """Mean over neurons of `first` of the greatest |correlation| with a neuron of `second`."""
    return float(_correlations(first, second).max(1).mean())


def linreg(first: Matrix, second: Matrix) -> float:
    """Mean over neurons of `first` of the multiple correlation with all neurons of `second` (square root of R^2)."""
    basis = _basis(_centred(second))
    x = _centred(first)
    whole = (x * x).sum(0)
    explained = ((basis.T @ x) ** 2).sum(0)
    used = whole > _RIDGE * max(float(whole.max(initial=0.0)), 1e-300)
    return float(np.sqrt(np.clip(explained[used] / whole[used], 0.0, 1.0)).mean()) if used.any() else 0.0


def svcca(first: Matrix, second: Matrix) -> float:
    """Mean canonical correlation of the principal components that hold 99 % of the variance (Raghu et al. 2017)."""
    left, right = (_principal(_centred(part)) for part in (first, second))
    found = np.linalg.svd(left.T @ right, compute_uv=False)
    return float(np.clip(found, 0.0, 1.0).mean()) if len(found) else 0.0


def pwcca(first: Matrix, second: Matrix) -> float:
    """Canonical correlations weighted by how much of `first` each direction accounts for (Morcos et al. 2018)."""
    x = _centred(first)
    left, right = _principal(x), _principal(_centred(second))
    u, correlations, _ = np.linalg.svd(left.T @ right, full_matrices=False)
    weights = np.abs((left @ u).T @ x).sum(1)
    return float((weights * np.clip(correlations, 0.0, 1.0)).sum() / weights.sum()) if weights.sum() else 0.0


MEASURES: dict[str, Callable[[Matrix, Matrix], float]] = {
    "cka": linear_cka, "maxcorr": maxcorr, "linreg": linreg, "svcca": svcca, "pwcca": pwcca,
}  # fmt: skip


@dataclass(frozen=True)
class LayerSimilarity:
    """How alike the layers of two models are.

    Attributes:
        model, against: their names. texts: how many texts they were compared on.
        grids: measure -> (layers of the first, layers of the second), embeddings first.
        cka_bounds: per layer of the first, the 95 % interval of linear CKA with the layer most like it; empty where
            cka was not asked for.
    """

    model: str
    against: str
    texts: int
    grids: dict[str, Matrix]
    cka_bounds: tuple[tuple[float, float], ...] = ()

    @property
    def records(self) -> list[Record]:
        """One per pair of layers and measure; `layer` is the other model's, the task says which of the first."""
        record = partial(inspection_record, self.model, n=self.texts)
        records = []
        for measure, grid in self.grids.items():
            for row, line in enumerate(grid):
                for column, value in enumerate(line):
                    most_alike = measure == "cka" and column == int(line.argmax())
                    low, high = self.cka_bounds[row] if most_alike else (None, None)
                    where = {"low": low, "high": high, "layer": column, "detail": {"against": self.against}}
                    records.append(record(f"layer_{row}", measure, "similarity", float(value), **where))
        return records


def similarity(
    model: str | Path | TorchEncoder,
    other: str | Path | TorchEncoder,
    texts: Texts = None,
    *,
    measures: Sequence[str] = ("cka",),
    prefix: str | None = None,
    progress: bool = False,
) -> LayerSimilarity:
    """How alike the layers of two models are, by the mean vectors of texts.

    Args:
        model, other: folders, hub ids, `embedded:NAME`, or loaded transformers.
        texts: a file, or texts; None = 64 Russian sentences of our own.
        measures: of MEASURES. prefix: before each text, None = each encoder's own. progress: show it on standard error.

    Raises:
        SlonikError: no transformer, an unknown measure, or too few texts for it.
    """
    first, second, sample = open_transformer(model), open_transformer(other), texts_of(texts)
    with shown(progress):
        vectors = [encoder.encode_layers(sample, ["mean"], prefix=prefix)["mean"] for encoder in (first, second)]
        grids = {measure: layer_similarity(list(vectors[0]), list(vectors[1]), measure) for measure in measures}
    best = grids["cka"].argmax(1) if "cka" in grids else ()
    bounds = [cka_interval(layer, vectors[1][column])[1:] for layer, column in zip(vectors[0], best, strict=False)]
    return LayerSimilarity(first.name, second.name, len(sample), grids, tuple(bounds))


def layer_similarity(
    first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]], measure: str = "cka"
) -> Matrix:
    """(layers of first, layers of second) similarity of every two layers.

    Args:
        first, second: vectors of every layer, (N, D) and (N, E), of the same texts in the same order.

    Raises:
        SlonikError: an unknown measure, different texts, or too few for the measure.
    """
    if measure not in MEASURES:
        raise SlonikError(f"unknown measure of similarity {measure!r} (known: {', '.join(MEASURES)})")
    sizes = {len(layer) for layer in (*first, *second)}
    if len(sizes) != 1 or min(sizes) < 3:
        raise SlonikError(f"layers must have vectors of the same texts, three at least; they have {sorted(sizes)}")
    widest = max(layer.shape[1] for layer in (*first, *second))
    if measure in _NEEDS_TEXTS and min(sizes) <= widest:
        raise SlonikError(
            f"{measure} is 1 by itself with {min(sizes)} texts for {widest} dimensions: give more texts, or take cka"
        )
    pairs = [[np.asarray(layer, dtype=np.float64) for layer in model] for model in (first, second)]
    return np.array([[MEASURES[measure](left, right) for right in pairs[1]] for left in pairs[0]])


def cka_interval(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[float, float, float]:
    """Linear CKA of two layers and its 95 % interval over texts.

    From halves of the texts drawn without repetition, which vary as much as the whole sample does (delete-half
    jackknife); a bootstrap would repeat texts, and repeated texts inflate similarity.
    """
    x, y = (np.asarray(part, dtype=np.float64) for part in (first, second))
    value = linear_cka(x, y)
    rng = np.random.default_rng(derive_seed(0, "cka", len(x)))
    found = []
    for _ in range(_RESAMPLES):
        rows = rng.permutation(len(x))[: len(x) // 2]
        found.append(linear_cka(x[rows], y[rows]))
    spread = Z * float(np.std(found))
    return value, max(0.0, value - spread), min(1.0, value + spread)


def _centred(values: Matrix) -> Matrix:
    found: Matrix = np.asarray(values, dtype=np.float64)
    return found - found.mean(0)


def _correlations(first: Matrix, second: Matrix) -> Matrix:
    """|Pearson's correlation| of every two neurons (D, E); 0 for a constant one."""
    x, y = _centred(first), _centred(second)
    norms = np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0))
    return np.abs(np.divide(x.T @ y, norms, out=np.zeros_like(norms), where=norms > 1e-12))


def _basis(centred: Matrix) -> Matrix:
    """Orthonormal columns that span the neurons (N, rank)."""
    u, values, _ = np.linalg.svd(centred, full_matrices=False)
    return u[:, values > 1e-8 * max(float(values.max(initial=0.0)), 1e-300)]


def _principal(centred: Matrix) -> Matrix:
    """Orthonormal principal components that hold 99 % of the variance (N, K)."""
    u, values, _ = np.linalg.svd(centred, full_matrices=False)
    share = np.cumsum(values**2) / max(float((values**2).sum()), 1e-300)
    return u[:, : int(np.searchsorted(share, _KEPT_VARIANCE)) + 1]
