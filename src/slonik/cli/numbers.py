"""Options that are numbers: one kind for each meaning, so that every command refuses the same values in one sentence.

    seed: int = typer.Option(0, help="Seed of the bootstrap.", **SEED)

A test walks over all commands and holds that no option that is a number goes without one of these.
"""

from __future__ import annotations

from typing import Any

import typer

from slonik.core.numbers import MOST_SEED, check_number


def whole(least: int, most: int | None = None) -> Any:
    """A whole number of `least` or more: what `typer.Option` takes beside its help."""
    return _kind(least=least, most=most, whole=True)


def number(*, least: float | None = None, most: float | None = None, above: float | None = None,
           below: float | None = None) -> Any:  # fmt: skip
    """A finite number within bounds, of which `above` and `below` are not allowed themselves."""
    return _kind(least=least, most=most, above=above, below=below)


def _kind(**bounds: Any) -> Any:
    def checked(parameter: typer.CallbackParam, value: Any) -> Any:
        several = value if isinstance(value, list | tuple) else [value]
        for one in several if value is not None else ():
            check_number(max(parameter.opts, key=len), one, **bounds)
        return value

    return {"callback": checked}


SEED: Any = whole(0, MOST_SEED)
COUNT: Any = whole(1)
"""So many of something: one at least."""
PLACE: Any = whole(0)
"""A number counted from 0, or so many of something, none among them."""
SHARE: Any = number(above=0, most=1)
"""A share that stays: all, but never nothing."""
PART: Any = number(least=0, below=1)
"""A share that is taken away: nothing, but never all."""
AMOUNT: Any = number(above=0)
"""Minutes, passes, a rate: above nothing."""
AT_LEAST_NONE: Any = number(least=0)
"""The same, where nothing has a meaning too."""
