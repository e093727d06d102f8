"""A model in memory as facts and hashes: types and shapes of its tensors, what its weights and its config say.

Equal to what `checkpoint_files` reads from the files of the same model. Changes no model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slonik.models.checkpoint_files import TensorInfo, hash_tensors
from slonik.text.matryoshka import KEYS as MATRYOSHKA

STORED_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of types in safetensors files."""
_NOT_DECIDING = (
    "_name_or_path", "name_or_path", "transformers_version", "architectures", "auto_map", "dtype", *MATRYOSHKA
)  # fmt: skip


def stored_tensors(model: nn.Module) -> dict[str, TensorInfo]:
    """Name -> stored type and shape of every weight."""
    state = model.state_dict()
    return {name: TensorInfo(STORED_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in state.items()}


def state_hash(model: nn.Module) -> str:
    """sha256 over names, types, shapes and values of all weights; one that stands under several names counts once."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    state = model.state_dict()
    own = {
        name: tensor
        for name, tensor in state.items()
        if not tensor.numel() or first.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name) == name
    }
    return hash_tensors(
        (name, STORED_NAMES[tensor.dtype], tuple(tensor.shape), _bytes(tensor)) for name, tensor in own.items()
    )


def config_facts(model: PreTrainedModel) -> dict[str, Any]:
    """The fields of a model's config that decide what it computes: no paths, versions or class names."""
    return {name: value for name, value in model.config.to_dict().items() if name not in _NOT_DECIDING}


def _bytes(tensor: Tensor) -> list[memoryview]:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return [flat.view(torch.uint8).numpy().data] if flat.numel() else []
