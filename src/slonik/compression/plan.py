"""What to keep of a model: a plan is JSON saved beside the weights, and surgery follows it exactly.

All indices are those of the parent model. A plan says nothing about why; `choose` makes one from scores and a
budget, `surgery.apply` carries it out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError, model_validator
from transformers import PreTrainedModel

from slonik.core.config import Config
from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.models.anatomy import dissect
from slonik.models.state import state_hash

FILE_NAME = "plan.json"


class Plan(Config):
    """Kept structures.

    Attributes:
        format: version of this schema.
        family: model family, as the anatomy table names it.
        parent: hash of the parent's weights ("" if unknown), as passports and `slonik show` give it.
        layers: kept layers, ascending.
        heads, ffn: kept heads and neurons of each kept layer, ascending.
        hidden: kept hidden dimensions, ascending; None = all.
        tokens: kept rows of the vocabulary in their new order; None = all.
    """

    format: int = 1
    family: str
    parent: str = ""
    layers: tuple[int, ...] = Field(min_length=1)
    heads: tuple[tuple[int, ...], ...]
    ffn: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...] | None = None
    tokens: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if not len(self.layers) == len(self.heads) == len(self.ffn):
            raise ValueError(
                f"layers, heads and ffn must have one entry per kept layer: {len(self.layers)}, {len(self.heads)}, "
                f"{len(self.ffn)}"
            )
        for name, group in (("heads", self.heads), ("ffn", self.ffn)):
            for layer, kept in zip(self.layers, group, strict=True):
                if not kept:
                    raise ValueError(f"layer {layer} would keep no {name}: keep one at least, or drop the layer")
        ascending = [("layers", self.layers), ("hidden", self.hidden)]
        ascending += [("heads", kept) for kept in self.heads] + [("ffn", kept) for kept in self.ffn]
        for name, kept_or_all in ascending:
            if kept_or_all is not None and list(kept_or_all) != sorted(set(kept_or_all)):
                raise ValueError(f"{name} must be ascending, each once: {list(kept_or_all)[:10]}")
        for name, named in (("hidden", self.hidden), ("tokens", self.tokens)):
            if named is not None and (not named or len(set(named)) != len(named)):
                raise ValueError(f"{name} must keep something, each once")
        return self

    def then(self, later: Plan) -> Plan:
        """One plan that does this one and then `later`, whose indices count in this one's result."""
        layers = tuple(self.layers[index] for index in later.layers)
        heads = tuple(
            tuple(self.heads[index][head] for head in kept)
            for index, kept in zip(later.layers, later.heads, strict=True)
        )
        ffn = tuple(
            tuple(self.ffn[index][neuron] for neuron in kept)
            for index, kept in zip(later.layers, later.ffn, strict=True)
        )
        return self.model_copy(
            update={
                "layers": layers,
                "heads": heads,
                "ffn": ffn,
                "hidden": _compose(self.hidden, later.hidden),
                "tokens": _compose(self.tokens, later.tokens),
            }
        )

    def write(self, folder: str | Path) -> Path:
        """Write `plan.json` into `folder`, atomically."""
        path = Path(folder) / FILE_NAME
        write_json(path, self.model_dump(mode="json"))
        return path

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """The plan in a file, or in a folder's `plan.json`.

        Raises:
            SlonikError: no such file, or not a plan.
        """
        place = Path(path)
        place = place / FILE_NAME if place.is_dir() else place
        try:
            return cls.model_validate(json.loads(place.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise SlonikError(f"there is no plan {place}") from None
        except (UnicodeDecodeError, ValueError, ValidationError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SlonikError(f"{place} is not a plan: {reason}") from None


def whole(model: PreTrainedModel, *, with_parent: bool = True) -> Plan:
    """The plan that keeps everything of `model`.

    Args:
        with_parent: hash the weights into the plan (half a second per 100 million parameters).
    """
    body = dissect(model)
    return Plan(
        family=body.anatomy.family,
        parent=state_hash(model) if with_parent else "",
        layers=tuple(range(len(body.layers))),
        heads=tuple(tuple(range(count)) for count in body.heads),
        ffn=tuple(tuple(range(count)) for count in body.ffn),
    )


def keep_layers(plan: Plan, layers: Sequence[int]) -> Plan:
    """`plan` with only these layers of the parent.

    Raises:
        SlonikError: no layers, or a layer that the plan does not keep.
    """
    if not layers:
        raise SlonikError("the layers are cut to zero: keep one at least")
    missing = sorted(set(layers) - set(plan.layers))
    if missing:
        raise SlonikError(f"there is no layer {missing[0]} to keep: layers are {', '.join(map(str, plan.layers))}")
    places = [plan.layers.index(layer) for layer in sorted(set(layers))]
    update = {name: tuple(getattr(plan, name)[place] for place in places) for name in ("layers", "heads", "ffn")}
    return plan.model_copy(update=update)


def _compose(first: tuple[int, ...] | None, later: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if first is None or later is None:
        return later if first is None else first
    return tuple(first[index] for index in later)
