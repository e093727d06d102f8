"""What a run tells about itself: `metrics.jsonl` and trackers, speed, share of the device's peak, memory.

Only the first process writes. Rates are of the steps alone: evaluations and saves do not count.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from slonik.core import files
from slonik.core.errors import SlonikError, disk_error
from slonik.train.processes import Processes
from slonik.train.run_state import StepRecord
from slonik.train.train_config import TrainConfig

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


class RunLog:
    """The log of one run.

    Args:
        processes: of the run.
        folder: of the run.
        config: which trackers; precision, for the device's peak.
        step: the step that the run goes on from; later lines are dropped.
        flops_per_token: of forward and backward pass together, where the caller knows; gives `flops_utilisation`.
    """

    def __init__(
        self, processes: Processes, folder: Path, config: TrainConfig, step: int, flops_per_token: float | None
    ) -> None:
        self._metrics = MetricsLog(folder / "metrics.jsonl", step) if processes.main else None
        self._trackers = Trackers(config.trackers if processes.main else (), folder, step)
        self._device = DeviceRates(processes.device)
        self._flops = flops_per_token
        self._peak = peak_flops(processes.device, config.precision) * processes.world if flops_per_token else 0.0
        self._texts = self._tokens = 0
        self._seconds = 0.0

    def count(self, record: StepRecord) -> None:
        """Add a settled step to the rates."""
        self._texts += record.texts
        self._tokens += record.tokens

    def spend(self, seconds: float) -> None:
        self._seconds += seconds

    @property
    def speed(self) -> str:
        """Texts and tokens per second since the last line, for people."""
        seconds = max(self._seconds, 1e-9)
        return f"{self._texts / seconds:,.0f} texts/s, {self._tokens / seconds:,.0f} tokens/s"

    def step(self, record: StepRecord, further: Mapping[str, Any]) -> None:
        """Write the line of a step, with the rates since the last such line."""
        seconds = max(self._seconds, 1e-9)
        rates: dict[str, float] = {
            "tokens_per_second": round(self._tokens / seconds),
            "texts_per_second": round(self._texts / seconds, 1),
        }
        if self._flops:
            rates["flops_utilisation"] = round(self._flops * self._tokens / seconds / self._peak, 4)
        self.write({**record.metrics(), **rates, **self._device.metrics(), **further})
        self._texts = self._tokens = 0
        self._seconds = 0.0

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line; it has a `step`."""
        if self._metrics is not None:
            self._metrics.write(line)
            self._trackers.write(line)

    def sync(self) -> None:
        """Flush to disk what a checkpoint counts on."""
        if self._metrics is not None:
            self._metrics.sync()

    def close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self._trackers.close()


class MetricsLog:
    """The run's own record, one JSON object per line: step, loss and its parts, rates, evaluation metrics.

    Appends to `path`; lines after the resumed step, and a last line cut by a crash, are dropped first.

    Args:
        path: the JSONL file.
        step: the step that the run continues from; 0 starts an empty log.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        kept = [line for line in read_metrics(path) if line["step"] <= step] if step else []
        files.write_text(path, "".join(_text(line) for line in kept))
        self._stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one object; it reaches the operating system at once.

        Raises:
            SlonikError: full disk.
        """
        try:
            self._stream.write(_text(line))
            self._stream.flush()
        except OSError as error:
            raise disk_error(error, self._path) from error

    def sync(self) -> None:
        """Flush to disk: what a checkpoint counts on must survive a power cut."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a metrics log; empty where there is none."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue  # the one line that a crash cut
    return lines


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


class Trackers:
    """TensorBoard, MLflow, ClearML, Weights & Biases, trackio, through Accelerate: views that are never read back.

    Args:
        names: which; none is fine.
        folder: of the run; its name is the name of the run, TensorBoard's files go to `tensorboard/` in it.
        step: the step that the run goes on from: TensorBoard drops what it has from there on.

    Raises:
        SlonikError: a tracker whose package is not installed.
    """

    def __init__(self, names: Sequence[str], folder: Path, step: int) -> None:
        self._trackers: list[Any] = []
        if not names:
            return
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        available = {str(getattr(name, "value", name)) for name in get_available_trackers()}
        for name in names:
            if name not in available:
                raise SlonikError(
                    f"the tracker {name!r} is not installed: pip install {name}, or leave it out "
                    f"(trackers: [{', '.join(other for other in names if other != name)}])"
                )
            if name == "tensorboard":
                tracker = LOGGER_TYPE_TO_CLASS[name]("tensorboard", folder, purge_step=step or None)
            else:
                tracker = LOGGER_TYPE_TO_CLASS[name](folder.name)
            tracker.start()
            self._trackers.append(tracker)

    def write(self, line: Mapping[str, Any]) -> None:
        """Send one line of the metrics log: numbers as curves, samples as text; needs `step`."""
        values = {name: value for name, value in _flat(line).items() if name != "step"}
        for tracker in self._trackers:
            tracker.log(values, step=line["step"])

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.finish()


def _flat(values: Mapping[str, Any]) -> dict[str, float | str]:
    """{"evaluation": {"loss": 1}} as {"evaluation/loss": 1}; lists of texts are joined."""
    found: dict[str, float | str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{inner}": number for inner, number in _flat(value).items()}
        elif isinstance(value, list):
            found[name] = "\n\n".join(str(item) for item in value)
        else:
            found[name] = value
    return found


class DeviceRates:
    """Readings of one process's device since the last call.

    Args:
        device: of the process.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._clock = (time.perf_counter(), time.process_time())

    def metrics(self) -> dict[str, float]:
        """`memory_gib`: the highest so far (of the process on a CPU, of the allocator on a GPU).
        `device_utilisation`: share of the time since the last call that the processor's threads worked; on a GPU the
        driver's reading, where its library (nvidia-ml-py) is installed."""
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
