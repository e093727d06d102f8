"""Which attention kernel trains fastest on a CPU.

In bfloat16 on a CPU the backward pass of torch's fused attention (sdpa) falls back to unblocked products and takes
more time than two encoder layers: at 128 texts of 16 tokens through 6 layers of 384, a third of the whole step; at 512
and 1,024 tokens a text a fifth. The plain three-product attention runs on batched bf16 kernels. Only the implementation
is switched, for every kind of training alike, and put back after.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def fast_attention(model: nn.Module, device: torch.device, *, bf16: bool) -> Iterator[None]:
    """Within the block fused attention on a CPU in bf16 gives way to the plain one; others are left alone.

    Args:
        model: a Transformers model or any module with such models in it (a task model, a tagger). Transformers' layers
            look the implementation up in their config at every call, so it is the configs that are written to
            (`set_attn_implementation` silently refuses classes whose source file does not spell the function out).
    """
    fused = _fused_configs(model) if device.type == "cpu" and bf16 else []
    for config in fused:
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for config in fused:
            config._attn_implementation = "sdpa"


def _fused_configs(model: nn.Module) -> list[Any]:
    found = {id(config): config for part in model.modules() if (config := getattr(part, "config", None)) is not None}
    return [config for config in found.values() if getattr(config, "_attn_implementation", None) == "sdpa"]
