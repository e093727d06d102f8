"""Which attention kernel trains fastest on a CPU.

In bfloat16 on a CPU the backward pass of torch's fused attention (sdpa) falls back to unblocked products and takes
more time than two encoder layers: at 128 texts of 16 tokens through 6 layers of 384, a third of the whole step. The
plain three-product attention runs on batched bf16 kernels. Only the implementation is switched, and put back after.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def fast_attention(model: nn.Module, device: torch.device, *, bf16: bool) -> Iterator[None]:
    """Within the block a Transformers model on a CPU in bf16 uses its eager attention; others are left alone."""
    used = getattr(getattr(model, "config", None), "_attn_implementation", None)
    switch = getattr(model, "set_attn_implementation", None)
    if device.type != "cpu" or not bf16 or used != "sdpa" or switch is None:
        yield
        return
    switch("eager")
    try:
        yield
    finally:
        switch("sdpa")
