"""Which precision matrix products are computed in where nobody says: bfloat16 where the hardware has units for it.

A processor without such units computes bfloat16 products by way of float32, some four times slower than float32 itself
(13 to 18 against 43 to 78 GFLOPS on one core with AVX2 alone), and rounds for nothing.
"""

from __future__ import annotations

from typing import Literal

import torch

from slonik.core.progress import warn_once

Precision = Literal["fp32", "bf16", "fp16"]
"""fp32: everything in float32. bf16, fp16: matrix products in half precision, weights in float32 (autocast)."""


def fast_bf16(device: torch.device) -> bool:
    """Does `device` compute bfloat16 products faster than float32 ones?"""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() or _arm())


def _arm() -> bool:
    """On ARM torch does not tell whether there are units for bfloat16; those of today's servers have them."""
    return torch.backends.cpu.get_cpu_capability() in ("SVE256", "SVE128")


def precision_on(device: torch.device, wanted: Precision | Literal["auto"] = "auto") -> Precision:
    """The precision that `wanted` means on `device`: auto is bf16 where that is faster, else fp32.

    bf16 that is asked for is done anywhere; where it is slow, a warning says so, once.
    """
    if wanted == "bf16" and not fast_bf16(device):
        warn_once(
            f"precision bf16: {device} has no units for bfloat16, where it is several times slower than fp32; take auto"
        )
    if wanted != "auto":
        return wanted
    return "bf16" if fast_bf16(device) else "fp32"


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which matrix products are computed so."""
    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, kind, enabled=precision != "fp32")
