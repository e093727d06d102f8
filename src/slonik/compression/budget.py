"""How much may stay: shares per kind of structure, or one target; checked here, met in `choose`.

Shares say what stays, not what goes: heads=0.75 keeps nine of twelve.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from slonik.core.config import Config
from slonik.core.errors import SlonikError

Unit = Literal["parameters", "flops", "latency"]


class Budget(Config):
    """A budget; every field is optional, and what is not named stays whole.

    Attributes:
        layers: number of layers that stay, chosen by their scores; with `keep_layers` exactly those (0-based).
        heads, ffn: share of heads and neurons that stays in the kept layers; at least one each.
        hidden: share of the hidden dimensions that stays (rounded to `multiple` / 2).
        target_parameters: the most parameters of the encoder, embeddings included.
        target_flops: share of the FLOPs of a text of `tokens` tokens that may stay.
        target_latency: share of the measured time of such a text that may stay.
        uneven: layers may differ in heads and neurons.
        multiple: neurons stay in multiples of this where layers are that wide (vector units like 8 and 16).
        min_layers: the fewest layers that a target may leave.
        tokens: length of the text that FLOPs and time are counted on.
    """

    layers: int | None = None
    keep_layers: tuple[int, ...] | None = None
    heads: float = 1.0
    ffn: float = 1.0
    hidden: float = 1.0
    target_parameters: int | None = Field(None, ge=1)
    target_flops: float | None = Field(None, gt=0, le=1)
    target_latency: float | None = Field(None, gt=0, le=1)
    uneven: bool = False
    multiple: int = Field(16, ge=1)
    min_layers: int = Field(1, ge=1)
    tokens: int = Field(32, ge=2)

    @model_validator(mode="after")
    def _possible(self) -> Budget:
        for name in ("heads", "ffn", "hidden"):
            share = getattr(self, name)
            if share <= 0:
                raise SlonikError(f"{name} would be cut to zero ({share}): a share above 0, at most 1, must stay")
            if share > 1:
                raise SlonikError(f"{name} is {share}: it is the share that stays, above 0 and at most 1")
        if self.layers is not None and self.layers < 1:
            raise SlonikError(f"the layers would be cut to zero ({self.layers}): keep one at least")
        if self.keep_layers is not None and not self.keep_layers:
            raise SlonikError("keep_layers is empty: the layers would be cut to zero, keep one at least")
        if self.layers is not None and self.keep_layers is not None and len(self.keep_layers) != self.layers:
            raise SlonikError(
                f"layers is {self.layers}, but keep_layers names {len(self.keep_layers)}: give one of them"
            )
        if self.target_latency is not None and self.hidden < 1:
            raise SlonikError("block times are measured at one hidden size: cut hidden dimensions first, apart")
        named = [name for name in ("target_parameters", "target_flops", "target_latency") if getattr(self, name)]
        if len(named) > 1:
            raise SlonikError(f"give one target, not {' and '.join(named)}")
        return self

    @property
    def unit(self) -> Unit | None:
        """What the target counts, None without a target."""
        if self.target_parameters is not None:
            return "parameters"
        if self.target_flops is not None:
            return "flops"
        return "latency" if self.target_latency is not None else None


def rounded(count: float, size: int, multiple: int) -> int:
    """The nearest multiple, at least one and at most `size`; where `size` is small, of half the multiple, and so on."""
    if count >= size:
        return size
    while multiple > 1 and size < 2 * multiple:
        multiple //= 2
    return min(size, max(multiple, round(count / multiple) * multiple))
