"""What every measuring function of the library takes and gives: models by name or loaded in, records and tables out.

`encodechka`, `russian_superglue`, probing and named entities share this shape:

    suite(models, *, data_dir=None, tasks=None, seed=0, passport=False, progress=False, on_task=None, ...) -> Evaluation

`models` is one model or several; whatever else a suite can be told comes behind by name. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.progress import warn_once
from slonik.core.protocols import Encoder
from slonik.core.records import Record
from slonik.core.run import Result, say
from slonik.models.kinds import is_exported
from slonik.models.opening import open_encoder
from slonik.reporting.scores import AVERAGES, MEAN, NOT_SCORES, is_difference, is_fraction
from slonik.reporting.table import Table, to_markdown

OnTask: TypeAlias = Callable[[str, str], None]
"""Called with a model's name and a task before the task is scored."""


@dataclass(frozen=True, kw_only=True)
class Evaluation(Result):
    """What a suite found out about one model or several.

    Attributes:
        records: one per task, variant, model and metric; then the paired differences.
        tables: the same for people, in the order in which they are read.
        warnings: what makes results wrong, or not comparable with others.
        notes: what was left out and why, and where the time went.
    """

    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The tables as they stand on a terminal, with warnings and notes under them."""
        return "\n\n".join([*map(str, self.tables), "\n".join(self._told)]).strip()

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return "\n\n".join([*map(to_markdown, self.tables), *self._told])

    @property
    def _told(self) -> list[str]:
        return [*(f"warning: {warning}" for warning in [*self.warnings, *few_items(self.records)]), *self.notes]


ENOUGH = 30
"""Items below which the interval of a share is wider than .3: of 80 % right .63 to .93 over 30, .50 to 1 over 10."""


_UNITS = {"ner": "documents", "retrieval": "queries"}
"""What the items are called that a suite draws, where it is not items."""


def few_items(records: Iterable[Record]) -> list[str]:
    """A warning for every task that was measured on so few items that its intervals say little."""
    few: dict[tuple[str, str, int], None] = {}
    for one in records:
        scored = one.low is not None and one.layer is None and is_fraction(one) and not is_difference(one)
        averaged = one.task in (*AVERAGES, MEAN) or one.suite in NOT_SCORES
        if scored and not averaged and one.n and one.n < ENOUGH:
            few[one.suite, one.task, one.n] = None
    return [
        f"{suite.replace('_', ' ')} {task}: measured on {count} {_UNITS.get(suite, 'items')} alone, so that its "
        f"interval says little: give {ENOUGH} or more"
        for suite, task, count in few
    ]


def several(models: Any) -> list[Any]:
    """One model, or an iterable of them, as a list without repeats, which are told.

    Raises:
        SlonikError: none at all.
    """
    one = isinstance(models, str | Path) or not isinstance(models, Iterable)
    given = [models] if one else models
    found: dict[str | int, Any] = {}
    for model in given:
        key = str(model) if isinstance(model, str | Path) else id(model)
        if key in found:
            warn_once(f"{getattr(model, 'name', model)} is named more than once: it is measured once")
        found[key] = model
    if not found:
        raise SlonikError("there is no model to measure: name one")
    return list(found.values())


def task_names(tasks: str | Iterable[str] | None) -> list[str] | None:
    """One task's name, or several, as a list; None (all tasks) stays None."""
    return None if tasks is None else [tasks] if isinstance(tasks, str) else list(tasks)


def opened(model: str | Path | Encoder, **options: Any) -> Encoder:
    """An encoder that is loaded, or loaded now under the name that the user gave.

    Args:
        options: of loading (dtype, device, trust_remote_code), for models by name; None = not given.

    Raises:
        SlonikError: no such model, or options that it does not take.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    names = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
    if not isinstance(model, str | Path):
        if chosen:
            raise SlonikError(f"{model.name} is loaded already: leave out {names}")
        return model
    if chosen and is_exported(model):
        raise SlonikError(f"{model} is an exported folder, run by onnxruntime: leave out {names}")
    encoder = open_encoder(model, **chosen)
    encoder.name = str(model)  # records carry the name that the user gave
    return encoder


def teller(on_task: OnTask | None, progress: bool) -> OnTask:
    """`on_task`, or a line on standard error where progress is to be shown, or nothing."""
    if on_task is not None:
        return on_task
    return (lambda model, task: say(f"{model}: {task}")) if progress else (lambda model, task: None)


def add_to_passport(folder: str | Path, records: Sequence[Record]) -> list[str]:
    """Keep what was measured in the passport of a checkpoint; nothing happens where `folder` is none.

    Returns:
        Warnings: why the passport was not written.
    """
    if not records or not Path(folder).is_dir():
        return []
    try:
        Passport.read(Path(folder)).with_records(records).write(Path(folder))
    except SlonikError as error:
        return [f"the passport was not written: {error}"]
    return []
