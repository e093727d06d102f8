"""Whose label is which: a model with a head that was trained elsewhere beside a task that is known here.

Labels go by their names, whatever their case, spaces and order. A task of "X" and "not X" takes the sum of everything
else for the latter. Names that say nothing (LABEL_0) are taken in the order of the task, and that is said. Anything
else is refused: an answer under the wrong label would be a number about nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.progress import warn_once
from slonik.text.task_config import TaskConfig

_SAME = {
    "yes": "true", "да": "true", "1": "true", "верно": "true", "no": "false", "нет": "false", "0": "false",
    "неверно": "false",
}  # fmt: skip
_NOT = ("not_", "non_", "не_")


def is_foreign(config: TaskConfig) -> bool:
    """Whether a model says nothing of the task that it was trained for: a head of Transformers, and no columns."""
    return config.shape == "stock" and not config.columns and config.task == "custom"


def label_map(
    own: Sequence[str], wanted: Sequence[str], who: str, task: str, *, said: bool = True
) -> NDArray[np.float32]:
    """Which of a model's labels stand for which of a task's: (own, wanted), 1 where one goes into the other.

    Args:
        own: the model's labels. wanted: the task's. who, task: what sentences call them.
        said: say it where labels without names are taken in order.

    Raises:
        SlonikError: they cannot be mapped; both lists are named.
    """
    found = np.zeros((len(own), len(wanted)), dtype=np.float32)
    mine, theirs = [_plain(label) for label in own], [_plain(label) for label in wanted]
    if sorted(mine) == sorted(theirs) and len(set(mine)) == len(mine):
        found[np.arange(len(own)), [theirs.index(label) for label in mine]] = 1
        return found
    if [label.upper() for label in own] == [f"LABEL_{number}" for number in range(len(wanted))]:
        if said:
            pairs = ", ".join(f"{label} = {name}" for label, name in zip(own, wanted, strict=True))
            warn_once(f"the labels of {who} have no names, and are taken in the order of {task}: {pairs}")
        return np.eye(len(own), dtype=np.float32)
    for place, label in enumerate(theirs):
        others = [n for n, name in enumerate(theirs) if n != place]
        if len(theirs) == 2 and label in mine and theirs[others[0]] in [prefix + label for prefix in _NOT]:
            found[:, others[0]] = 1
            found[mine.index(label)] = np.eye(2)[place]
            return found
    raise SlonikError(
        f"{who} has the labels {', '.join(own)}, and {task} has {', '.join(wanted)}: they cannot be mapped; rename "
        "them in id2label of its config.json"
    )


def _plain(label: str) -> str:
    name = re.sub(r"[\s_\-]+", "_", label.strip().casefold())
    return _SAME.get(name, name)
