"""TensorBoard, MLflow, ClearML, Weights & Biases, trackio: the figures of a run sent on through Accelerate.

The run's own record is `metrics.jsonl`; a tracker is a view of it and is never read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from slonik.core.errors import SlonikError

TrackerName = Literal["tensorboard", "mlflow", "clearml", "wandb", "trackio"]


class Trackers:
    """The trackers of one run.

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

    def write(self, figures: Mapping[str, Any]) -> None:
        """Send one line of the metrics log: numbers as curves, samples as text; needs `step`."""
        values = {name: value for name, value in _flat(figures).items() if name != "step"}
        for tracker in self._trackers:
            tracker.log(values, step=figures["step"])

    def close(self) -> None:
        """Flush and end."""
        for tracker in self._trackers:
            tracker.finish()


def _flat(figures: Mapping[str, Any]) -> dict[str, float | str]:
    """{"evaluation": {"loss": 1}} as {"evaluation/loss": 1}; lists of texts are joined."""
    found: dict[str, float | str] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= {f"{name}/{inner}": number for inner, number in _flat(value).items()}
        elif isinstance(value, list):
            found[name] = "\n\n".join(str(item) for item in value)
        else:
            found[name] = value
    return found
