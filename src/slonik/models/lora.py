"""LoRA: low-rank matrices beside the weights of a model's linear layers, which alone are trained; by peft.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021). peft puts them into the model in place,
so a loop and its objectives see the model that they know; in the end they are added to the weights, and what is saved
is an ordinary checkpoint. Which other parameters are trained (a task's head) is the caller's business.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from slonik.core.errors import SlonikError, missing_extra
from slonik.core.files import write_json

_NAME = "default"
_MARK = "lora_"


@dataclass(frozen=True)
class LowRankSize:
    """How large the matrices are.

    Attributes:
        rank: columns of A, rows of B. alpha: their product is scaled by alpha / rank; None = twice the rank.
        dropout: before A.
    """

    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0


class LowRank:
    """The matrices beside the weights of one model, from their making until they are added to the weights.

    Args:
        model: gets them in place; all its other weights are frozen.
        size: how large.
        layers: full names of the linear layers that get some.
        name: of the model, for `save`.
        seed: of their beginning, at which they change nothing.

    Attributes:
        trained: numbers in them. layers: how many layers have some.

    Raises:
        MissingExtra: peft is not installed.
        SlonikError: the rank is above that of one of the layers.
    """

    def __init__(
        self, model: nn.Module, size: LowRankSize, layers: Sequence[str], *, name: str = "", seed: int = 0
    ) -> None:
        from transformers.pytorch_utils import Conv1D

        peft = need_peft()
        check_rank(model, size.rank, layers, name=name or "the model")
        self._model: Any = model
        self._flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._config = peft.LoraConfig(
            r=size.rank,
            lora_alpha=size.alpha or 2 * size.rank,
            lora_dropout=size.dropout,
            target_modules=sorted(layers),
            fan_in_fan_out=any(isinstance(model.get_submodule(one), Conv1D) for one in layers),
            base_model_name_or_path=name,
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            self._tuner = peft.tuners.lora.LoraModel(model, self._config, _NAME)
        self.trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        self.layers = len(layers)

    def said(self) -> str:
        """`low-rank matrices of rank 16 beside 24 linear layers: 1.2 M of 110.3 M parameters are trained`."""
        whole = sum(parameter.numel() for parameter, _ in self._flags)
        return (
            f"low-rank matrices of rank {self._config.r} beside {self.layers} linear layers: "
            f"{self.trained / 1e6:.2f} M parameters are trained, {whole / 1e6:.2f} M stay as they are"
        )

    def save(self, folder: Path) -> None:
        """Write them as peft reads them (`PeftModel.from_pretrained(original, folder)`).

        Raises:
            SlonikError: full disk.
        """
        found = need_peft().get_peft_model_state_dict(self._model, adapter_name=_NAME)
        tensors = {f"base_model.model.{name}": tensor.detach().cpu().contiguous() for name, tensor in found.items()}
        folder.mkdir(parents=True, exist_ok=True)
        content = {name: sorted(v) if isinstance(v, set) else v for name, v in self._config.to_dict().items()}
        write_json(folder / "adapter_config.json", content | {"inference_mode": True})
        save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})

    def merge(self) -> None:
        """Add them to the weights and take them out of the model, whose flags are those of before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._tuner.merge_and_unload()
        for parameter, required in self._flags:
            parameter.requires_grad_(required)


def need_peft() -> Any:
    """The package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise missing_extra("training by low-rank matrices", error) from error
    return peft


def check_rank(model: nn.Module, rank: int, layers: Sequence[str], *, name: str = "the model") -> None:
    """Refuse matrices that are no smaller than what they stand beside.

    Raises:
        SlonikError: `rank` is above the shorter side of the weight of one of `layers`.
    """
    sides = {one: min(model.get_submodule(one).weight.shape) for one in layers}  # type: ignore[arg-type,type-var]
    narrow = min(sides, key=lambda one: sides[one])
    if rank > sides[narrow]:
        raise SlonikError(
            f"low-rank matrices of rank {rank} would be larger than the weight of {narrow} in {name}, whose rank is at "
            f"most {sides[narrow]}: give a lower rank (8 to 64 are usual)"
        )


def linear_layers(model: nn.Module, wanted: Sequence[str] = (), *, name: str = "the model") -> list[str]:
    """Full names of the linear layers of a transformer's numbered layers; those whose names end so, or all.

    Raises:
        SlonikError: there are none, or none has such a name.
    """
    from transformers.pytorch_utils import Conv1D

    found = [
        one
        for one, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and any(part.isdigit() for part in one.split("."))
    ]
    if not found:
        raise SlonikError(f"{name} has no linear layers that low-rank matrices could stand beside")
    for each in wanted:
        if not any(_ends(one, each) for one in found):
            ends = sorted({one.rsplit(".", 1)[-1] for one in found})
            raise SlonikError(f"no linear layer of {name} is called {each!r}: there are {', '.join(ends)}")
    return [one for one in found if not wanted or any(_ends(one, each) for each in wanted)]


def is_low_rank(name: str) -> bool:
    """Whether a parameter of this name is one of the matrices."""
    return _MARK in name


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")
