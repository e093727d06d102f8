"""Ray Data over parts: actors that hold one model each take part after part, on any machine of the cluster.

Every machine must have slonik and the model, and reach the folders of input and output under the same names.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from slonik.core.errors import SlonikError
from slonik.data.part_files import PartFile
from slonik.scaling.engines.ray_tasks import start_ray

_BLOCK_BYTES = 1 << 20
"""What goes between driver and actors are numbers of parts: Ray must not wait for room for its usual 128 MiB."""


class _Actor:
    """A model that goes through parts."""

    def __init__(self, open_work: Callable[[], Any], each: Callable[[Any, PartFile], None], todo: Sequence[PartFile]):
        self._work, self._each, self._todo = open_work(), each, todo

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        errors = []
        for place in batch["place"]:
            try:
                self._each(self._work, self._todo[int(place)])
                errors.append("")
            except SlonikError as error:
                errors.append(str(error))
        return {"place": batch["place"], "error": errors}


def run_on_ray(
    open_work: Callable[[], Any],
    each: Callable[[Any, PartFile], None],
    todo: Sequence[PartFile],
    workers: int | None,
    ended: Callable[[str, str | None], None],
) -> None:
    """Have actors call `each(work, part)` for every part; a part that fails does not stop the others.

    Args:
        open_work: called once in each actor.
        workers: actors; None = as many as the cluster has processors, and never more than parts.
        ended: called here with a part's name and the sentence of what went wrong, or None.

    Raises:
        SlonikError: an actor died again and again, or could not open the model.
        MissingExtra: ray is not installed.
    """
    ray, started = start_ray()
    try:
        data: Any = importlib.import_module("ray.data")
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells the console of its plans
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = _BLOCK_BYTES
        count = min(len(todo), workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        places = data.from_items([{"place": place} for place in range(len(todo))], override_num_blocks=len(todo))
        done = places.map_batches(
            _Actor, batch_size=1, num_cpus=1, fn_constructor_args=(open_work, each, list(todo)),
            compute=data.ActorPoolStrategy(size=count),
        )  # fmt: skip
        for row in done.iter_rows():
            ended(todo[int(row["place"])].name, row["error"] or None)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        reason = str(cause if isinstance(cause, SlonikError) else error).strip().splitlines()[-1][:300]
        raise SlonikError(f"a worker of Ray could not go on ({reason}): parts that are done stay") from None
    finally:
        if started:
            ray.shutdown()
