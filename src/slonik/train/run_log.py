"""What a run tells about itself: `metrics.jsonl` and trackers, speed, share of the device's peak, memory.

Only the first process writes. Rates are of the steps alone: evaluations and saves do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slonik.train.device_rates import DeviceRates, peak_flops
from slonik.train.metrics_log import MetricsLog
from slonik.train.processes import Processes
from slonik.train.step_record import StepRecord
from slonik.train.trackers import Trackers
from slonik.train.train_config import TrainConfig


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
        """Add the time of a step."""
        self._seconds += seconds

    def step(self, record: StepRecord, further: Mapping[str, Any]) -> None:
        """Write the line of a step, with the rates since the last such line."""
        seconds = max(self._seconds, 1e-9)
        rates: dict[str, float] = {
            "tokens_per_second": round(self._tokens / seconds),
            "texts_per_second": round(self._texts / seconds, 1),
        }
        if self._flops:
            rates["flops_utilisation"] = round(self._flops * self._tokens / seconds / self._peak, 4)
        self.write({**record.figures(), **rates, **self._device.figures(), **further})
        self._texts = self._tokens = 0
        self._seconds = 0.0

    def write(self, figures: Mapping[str, Any]) -> None:
        """Write one line; it has a `step`."""
        if self._metrics is not None:
            self._metrics.write(figures)
            self._trackers.write(figures)

    def sync(self) -> None:
        """Flush to disk what a checkpoint counts on."""
        if self._metrics is not None:
            self._metrics.sync()

    def close(self) -> None:
        """End log and trackers."""
        if self._metrics is not None:
            self._metrics.close()
        self._trackers.close()
