"""LoRA: low-rank matrices beside the weights of a body's linear layers, which alone are trained; by peft.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021). peft puts them into the model in place,
so the loop and the objectives see the model that they know; in the end they are added to the weights, and what is saved
is an ordinary checkpoint. Embeddings, norms and the head stay as they are.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from slonik.core.errors import SlonikError, missing_extra
from slonik.core.files import write_json
from slonik.models.language_model import LanguageModel
from slonik.pretraining.adaptation.config import LoraSettings

FOLDER = "lora"
_NAME = "default"


class LowRank:
    """The matrices beside the weights of one model, from their making until they are added to the weights.

    Args:
        language: its model gets them in place; all other weights are frozen.
        settings: how large, and where.
        seed: of their beginning, at which they change nothing.

    Raises:
        SlonikError: no linear layer has such a name, or the family has none that peft knows.
        MissingExtra: peft is not installed.
    """

    def __init__(self, language: LanguageModel, settings: LoraSettings, *, seed: int = 0) -> None:
        peft = _peft()
        self._model: Any = language.model
        self._flags = [(parameter, parameter.requires_grad) for parameter in self._model.parameters()]
        layers = _layers(language, settings.layers)
        self._config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha or 2 * settings.rank,
            lora_dropout=settings.dropout,
            target_modules=sorted(layers),
            fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in layers.values()),
            base_model_name_or_path=language.name,
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            self._tuner = peft.tuners.lora.LoraModel(self._model, self._config, _NAME)
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        self.trained = sum(parameter.numel() for parameter in trained)
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
        peft = _peft()
        found = peft.get_peft_model_state_dict(self._model, adapter_name=_NAME)
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


def _peft() -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise missing_extra("adapting by low-rank matrices", error) from error
    return peft


def check_low_rank(language: LanguageModel, settings: LoraSettings) -> None:
    """Refuse before any work what `LowRank` would refuse.

    Raises:
        SlonikError, MissingExtra: as `LowRank`.
    """
    _peft()
    _layers(language, settings.layers)


def _layers(language: LanguageModel, wanted: tuple[str, ...]) -> dict[str, nn.Module]:
    """Name -> linear layer of the body; those with one of the names, or all."""
    inside = {id(part) for part in language.body.modules()}
    head = language.model.get_output_embeddings()
    found = {
        name: part
        for name, part in language.model.named_modules()
        if isinstance(part, nn.Linear | Conv1D) and id(part) in inside and part is not head and "pooler" not in name
    }
    if not found:
        raise SlonikError(f"{language.name} has no linear layers that low-rank matrices could stand beside")
    chosen = {name: part for name, part in found.items() if not wanted or any(_ends(name, each) for each in wanted)}
    for each in wanted:
        if not any(_ends(name, each) for name in found):
            ends = sorted({name.rsplit(".", 1)[-1] for name in found})
            raise SlonikError(f"lora.layers names {each!r}, and {language.name} has layers {', '.join(ends)}")
    return chosen


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")
