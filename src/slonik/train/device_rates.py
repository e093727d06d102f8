"""How fast and how full a device is: its peak rate of matrix products, memory in use, share of time at work."""

from __future__ import annotations

import resource
import sys
import time

import torch

# Dense peaks in TFLOP/s from the makers' data sheets, without sparsity: (16-bit with 32-bit sums, 32-bit as torch
# runs it by default). The first name found in the device's own name counts.
_PEAKS: tuple[tuple[str, float, float], ...] = (
    ("H200", 989.0, 67.0),
    ("H100 PCIe", 756.0, 51.0),
    ("H100", 989.0, 67.0),
    ("A100", 312.0, 19.5),
    ("A800", 312.0, 19.5),
    ("L40S", 362.0, 91.6),
    ("A10", 125.0, 31.2),
    ("V100", 125.0, 15.7),
    ("T4", 65.0, 8.1),
    ("RTX 4090", 165.0, 82.6),
    ("RTX 3090", 71.0, 35.6),
)
_PROBE_SIDE = 1024
_GIB = 1 << 30


def peak_flops(device: torch.device, precision: str) -> float:
    """FLOP/s that the device reaches at best: its data sheet's where it is known, else a large product's, measured."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for known, half, single in _PEAKS:
            if known in name:
                return (single if precision == "fp32" else half) * 1e12
    return _measured_peak(device, precision)


def _measured_peak(device: torch.device, precision: str) -> float:
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    # Ones, not random numbers: the generator of the run must not move.
    matrix = torch.ones(_PROBE_SIDE, _PROBE_SIDE, device=device, dtype=kind)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2.0 * _PROBE_SIDE**3 / best


class DeviceRates:
    """Figures of one process's device since the last call.

    Args:
        device: of the process.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._clock = (time.perf_counter(), time.process_time())

    def figures(self) -> dict[str, float]:
        """`memory_gib`: the highest so far (of the process on a CPU, of the allocator on a GPU).
        `device_utilisation`: share of the time since the last call that the processor's threads worked; on a GPU the
        driver's figure, where its library (nvidia-ml-py) is installed."""
        found = {"memory_gib": round(self._memory() / _GIB, 3)}
        utilisation = self._utilisation()
        if utilisation is not None:
            found["device_utilisation"] = round(utilisation, 3)
        return found

    def _memory(self) -> float:
        if self._device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self._device))
        unit = 1 if sys.platform == "darwin" else 1024
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)

    def _utilisation(self) -> float | None:
        if self._device.type == "cuda":
            try:
                return torch.cuda.utilization(self._device) / 100.0
            except (ModuleNotFoundError, RuntimeError):
                return None
        before, self._clock = self._clock, (time.perf_counter(), time.process_time())
        wall, busy = self._clock[0] - before[0], self._clock[1] - before[1]
        return busy / max(wall, 1e-9) / max(torch.get_num_threads(), 1)
