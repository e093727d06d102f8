"""Several teachers as one: their vectors side by side, centred, weighted, turned into a student's own width.

Encoders that err differently average their errors out when their vectors stand side by side. Each part is brought to
unit length, the mean over a corpus sample is taken off (the vectors of some encoders all lie in one narrow cone), it is
brought to unit length again and multiplied by its weight; the cosine of two blended vectors is then the mean of the
parts' cosines, weighted by the squares of the weights. The principal axes of the sample carry the whole into fewer
dimensions, which keeps the cosines as far as these dimensions can. Nothing is trained here, and no benchmark is read.

Shapes: N texts, E dimensions of a part, D dimensions of the blend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.protocols import Encoder, FloatArray
from slonik.text.tokenizing import check_texts

_SMALLEST = 1e-12


@dataclass(frozen=True)
class BlendPart:
    """One teacher of a blend.

    Attributes:
        encoder: gives its vectors.
        weight: over 0; only the ratios of the weights matter.
        prefix: put before each text; None = the encoder's own default.
    """

    encoder: Encoder
    weight: float = 1.0
    prefix: str | None = None


@dataclass(frozen=True)
class BlendMap:
    """From the parts' vectors to those of the blend: fitted once, on a sample of texts.

    Attributes:
        means: (E,) of each part, subtracted from its unit vectors; zeros where the blend is not centred.
        weights: of the parts; their squares sum to 1.
        axes: (sum of E, D), orthonormal columns.
        scale: length of the blended vectors.
        kept: share of the squared length of the sample's vectors that the axes keep, 0 to 1.
    """

    means: tuple[FloatArray, ...]
    weights: tuple[float, ...]
    axes: FloatArray
    scale: float
    kept: float

    @property
    def dimension(self) -> int:
        return int(self.axes.shape[1])

    def __call__(self, vectors: Sequence[NDArray[Any]]) -> FloatArray:
        """(N, E) of each part -> (N, D), of length `scale`; a text without any vector stays zero."""
        return self.scale * _unit(side_by_side(vectors, self.means, self.weights) @ self.axes)

    def identity(self) -> str:
        """sha256 of everything that decides the vectors."""
        arrays = [*self.means, self.axes]
        hashes = [sha256_bytes(np.ascontiguousarray(array, dtype="<f4").tobytes()) for array in arrays]
        return sha256_json([hashes, self.weights, self.scale])


def fit_blend(
    vectors: Sequence[NDArray[Any]],
    weights: Sequence[float],
    *,
    centre: bool = True,
    scale: float = 1.0,
    dimension: int | None = None,
) -> BlendMap:
    """Fit means and principal axes to a sample.

    Args:
        vectors: (N, E) of each part, of the same N texts.
        weights: of the parts.
        centre: subtract the means.
        scale: length of the blended vectors.
        dimension: D; None = all that the parts have together.

    Raises:
        SlonikError: a weight or scale that is not over 0, parts of different texts, more dimensions than there are or
            than texts.
    """
    bad = [weight for weight in (*weights, scale) if not (math.isfinite(weight) and weight > 0)]
    if bad:
        raise SlonikError(f"a weight or scale of a blend is {bad[0]}: use numbers over 0, and leave a teacher out")
    if len({len(part) for part in vectors}) != 1 or len(vectors) != len(weights):
        sizes = ", ".join(str(len(part)) for part in vectors)
        raise SlonikError(f"the parts of a blend hold vectors of {sizes} texts: give each the same texts, and a weight")
    total, texts = sum(part.shape[1] for part in vectors), len(vectors[0])
    kept = total if dimension is None else dimension
    if not 0 < kept <= min(total, texts):
        raise SlonikError(
            f"a blend of {total} dimensions fitted to {texts} texts cannot have {kept}: use 1 to {min(total, texts)}"
        )
    units = [_unit(np.asarray(part, dtype=np.float32)) for part in vectors]
    means = tuple(unit.mean(0) if centre else np.zeros(unit.shape[1], dtype=np.float32) for unit in units)
    length = math.sqrt(sum(weight**2 for weight in weights))
    shares = tuple(weight / length for weight in weights)
    whole = side_by_side(units, means, shares).astype(np.float64)
    values, axes = np.linalg.eigh(whole.T @ whole)
    chosen = np.ascontiguousarray(axes[:, ::-1][:, :kept], dtype=np.float32)
    return BlendMap(means, shares, chosen, scale, float(values[::-1][:kept].sum() / max(values.sum(), _SMALLEST)))


class Blend:
    """Several encoders as one Encoder; slow as all of them together, meant as a teacher and to be measured.

    Attributes:
        parts: its encoders and their weights.
        map: from their vectors to the blend's.
        dimension: D.
    """

    def __init__(self, parts: Sequence[BlendPart], fitted: BlendMap, *, name: str | None = None) -> None:
        self.parts = tuple(parts)
        self.map = fitted
        self.name = name or " + ".join(f"{part.encoder.name} x {part.weight:g}" for part in self.parts)
        self.dimension = fitted.dimension

    def __repr__(self) -> str:
        return f"Blend({self.name!r}, {self.dimension} dimensions)"

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Vectors (N, D).

        Args:
            prefix: None = each part's own; anything else is put before the texts of every part.
        """
        check_texts(texts)
        return self.map(part_vectors(self.parts, texts, prefix=prefix))

    def describe(self) -> dict[str, Any]:
        """Facts: the parts, their weights, dimensions, and how much of the parts the axes keep."""
        parts = [{"name": part.encoder.name, "weight": part.weight} for part in self.parts]
        facts = {"name": self.name, "model_type": "blend", "dimension": self.dimension, "parts": parts}
        return facts | {"kept": self.map.kept, "scale": self.map.scale, "weights_hash": self.identity()}

    def identity(self) -> str:
        """sha256 of everything that decides the vectors."""
        return sha256_json([[p.encoder.identity(), p.prefix] for p in self.parts] + [self.map.identity()])


def part_vectors(parts: Sequence[BlendPart], texts: Sequence[str], *, prefix: str | None = None) -> list[FloatArray]:
    """(N, E) of each part; its own prefix unless one is given."""
    return [part.encoder.encode(texts, prefix=part.prefix if prefix is None else prefix) for part in parts]


def side_by_side(vectors: Sequence[NDArray[Any]], means: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """(N, sum of E): unit vectors, centred, unit again, weighted; zeros where a part has no vector."""
    sizes = [(part.shape[1], len(mean)) for part, mean in zip(vectors, means, strict=True)]
    if any(given != fitted for given, fitted in sizes):
        raise SlonikError(
            f"vectors of {[given for given, _ in sizes]} dimensions for a blend of {[f for _, f in sizes]}"
        )
    parts = [
        weight * _unit(_unit(np.asarray(part, dtype=np.float32)) - mean * (np.abs(part).sum(1, keepdims=True) > 0))
        for part, mean, weight in zip(vectors, means, weights, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def _unit(vectors: NDArray[Any]) -> FloatArray:
    """Rows of length 1; rows of zeros stay."""
    found: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SMALLEST)
    return found
