"""Erasing a property from vectors, and from a layer of a running model: LEACE in closed form.

The eraser (Belrose et al. 2023, theorem 4.3) is the affine map that changes vectors least among those after which no
linear probe can tell the property's classes apart better than by their shares. Fitted to the mean vectors of texts, as
the layer itself puts them out, and applied to every token of the layer while the model runs, it erases the mean vectors
of the layer exactly, as it is affine.

What a model does without the property is measured in `usage`. Shapes: N texts, D dimensions, K classes, R directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slonik.core.errors import SlonikError
from slonik.inspection.inputs import BATCH
from slonik.models.anatomy import dissect
from slonik.models.encoder import TorchEncoder
from slonik.models.padding import pad
from slonik.models.pooling import pool, reading_part

_RANK_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Eraser:
    """x -> x - (x - mean) @ left @ right.

    Attributes:
        mean: (D,). left: (D, R), into the erased directions; right: (R, D), out of them. R is K - 1 at most.
    """

    mean: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]

    @property
    def rank(self) -> int:
        """How many directions are erased."""
        return int(self.left.shape[1])

    def __call__(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Vectors (..., D) without the property."""
        given = np.asarray(vectors, dtype=np.float64)
        found: NDArray[np.float64] = given - (given - self.mean) @ self.left @ self.right
        return found

    def on_tensor(self, states: Tensor) -> Tensor:
        """The same for states (..., D) of a model."""
        parts = [
            torch.as_tensor(p, dtype=torch.float32, device=states.device) for p in (self.mean, self.left, self.right)
        ]
        wide = states.float()
        return (wide - (wide - parts[0]) @ parts[1] @ parts[2]).to(states.dtype)


def leace(vectors: NDArray[np.floating], labels: NDArray[np.str_]) -> Eraser:
    """The least-squares eraser of labels (N,) from vectors (N, D).

    With W the whitening of the vectors and Z the labels as indicators: P projects on the columns of W cov(X, Z), and
    what is taken off a centred x is W^+ P W x.

    Raises:
        SlonikError: fewer than two labels.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise SlonikError(f"every sentence has the label {classes[0]!r}: there is nothing to erase")
    x = np.asarray(vectors, dtype=np.float64)
    mean = x.mean(0)
    centred = x - mean
    indicators = np.eye(len(classes))[targets.ravel()]
    indicators -= indicators.mean(0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(x))
    used = variances > _RANK_TOLERANCE * max(float(variances.max()), 1e-300)
    roots = np.sqrt(np.where(used, variances, 1.0))
    whiten = (axes * np.where(used, 1 / roots, 0.0)) @ axes.T
    colour = (axes * np.where(used, roots, 0.0)) @ axes.T
    shared = whiten @ (centred.T @ indicators / len(x))
    u, sizes, _ = np.linalg.svd(shared, full_matrices=False)
    kept = u[:, sizes > 1e-9 * max(float(sizes.max(initial=0.0)), 1e-300)]
    return Eraser(mean, whiten @ kept, kept.T @ colour)


@contextmanager
def erasing(encoder: TorchEncoder, layer: int, eraser: Eraser | None) -> Iterator[None]:
    """Inside the block the encoder runs with the property erased from every token of a layer (0 = embeddings).

    Raises:
        SlonikError: a layer that is not there, or a family that the anatomy table does not know.
    """
    if eraser is None:
        yield
        return
    layers = [part.module for part in dissect(encoder.model).layers]
    check_layer(layer, len(layers), encoder.name)

    def entering(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (eraser.on_tensor(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": eraser.on_tensor(kwargs["hidden_states"])}

    def leaving(_module: Any, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (eraser.on_tensor(output[0]), *output[1:])
        return eraser.on_tensor(output)

    if layer == 0:
        handle = layers[0].register_forward_pre_hook(entering, with_kwargs=True)
    else:
        handle = layers[layer - 1].register_forward_hook(leaving)
    try:
        yield
    finally:
        handle.remove()


def layer_means(
    encoder: TorchEncoder, texts: Sequence[str], layers: Sequence[int], *, prefix: str | None = None
) -> dict[int, NDArray[np.float32]]:
    """Layer -> mean vectors (N, D) of texts as the layer puts them out: of the last one before any final norm."""
    modules = [part.module for part in dissect(encoder.model).layers]
    caught: dict[int, Tensor] = {}

    def entering(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught[0] = args[0] if args else kwargs["hidden_states"]

    def leaving(layer: int) -> Any:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            caught[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    rows = encoder.tokenize(texts, prefix)
    order = sorted(range(len(rows)), key=lambda at: -len(rows[at]))
    found: dict[int, NDArray[np.float32]] = {}
    handles = [modules[layer - 1].register_forward_hook(leaving(layer)) for layer in layers if layer]
    if 0 in layers:
        handles.append(modules[0].register_forward_pre_hook(entering, with_kwargs=True))
    try:
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            inputs = pad([rows[at] for at in batch], encoder.pad_id, device=encoder.device)
            with torch.inference_mode():
                reading_part(encoder.model)(**inputs)
                for layer in layers:
                    means = pool(caught[layer], inputs["attention_mask"], "mean").float().cpu().numpy()
                    found.setdefault(layer, np.zeros((len(rows), means.shape[1]), dtype=np.float32))[batch] = means
    finally:
        for handle in handles:
            handle.remove()
    return found


def check_layer(layer: int, layers: int, name: str) -> None:
    """Refuse a layer that is not there.

    Raises:
        SlonikError: it is none of 0 (embeddings) to `layers`.
    """
    if not 0 <= layer <= layers:
        raise SlonikError(f"{name} has the layers 0 (embeddings) to {layers}: there is no layer {layer}")
