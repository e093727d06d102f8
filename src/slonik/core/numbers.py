"""Numbers that users give: what each kind may be, refused in one sentence wherever it comes from.

The command line's options (`slonik.cli.numbers`) and functions of the library that take plain numbers ask here; fields
of recipes have the same bounds in their configurations (`slonik.core.config`). Does not read numbers out of texts.
"""

from __future__ import annotations

import math
from typing import Any

from slonik.core.errors import SlonikError

MOST_SEED = 2**32 - 1
"""The greatest seed that every random generator in use takes."""


def check_number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    whole: bool = False,
) -> None:
    """Refuse a number outside its bounds, what is no number, and what is not finite.

    Args:
        name: of the option or argument, for the sentence.
        least, most: bounds that are allowed themselves. above, below: bounds that are not.
        whole: only whole numbers.

    Raises:
        SlonikError: it says the value and what is allowed.
    """
    kinds = (int,) if whole else (int, float)
    sound = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    inside = sound and (
        (least is None or value >= least)
        and (most is None or value <= most)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not inside:
        raise SlonikError(f"{name} is {value!r}: give {_allowed(least, most, above, below, whole=whole)}")


def check_seed(seed: Any, name: str = "seed") -> None:
    """Refuse what is no seed: a whole number from 0 to MOST_SEED.

    Raises:
        SlonikError: another value.
    """
    check_number(name, seed, least=0, most=MOST_SEED, whole=True)


def check_count(name: str, count: Any, least: int = 1) -> None:
    """Refuse a number of things below `least`; None is one that was not given.

    Raises:
        SlonikError: fewer, or no whole number.
    """
    if count is not None:
        check_number(name, count, least=least, whole=True)


def _allowed(least: float | None, most: float | None, above: float | None, below: float | None, *, whole: bool) -> str:
    """What may be given, in words."""
    kind = "a whole number" if whole else "a number"
    if most is None and below is None:
        return f"{kind} of {least:.12g} or more" if above is None else f"{kind} above {above:.12g}"
    lower = f"from {least:.12g}" if above is None else f"above {above:.12g}"
    if most is None:
        return f"{kind} {lower} and below {below:.12g}"
    return f"{kind} {lower} to {most:.12g}" if above is None else f"{kind} {lower} and at most {most:.12g}"
