"""Lookup by name in a plain dict, with "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from slonik.core.errors import SlonikError

T = TypeVar("T")


def lookup(name: str, options: Mapping[str, T], what: str) -> T:
    """`options[name]`.

    Args:
        what: what is being looked up, for the sentence: "task", "embedded model".

    Raises:
        SlonikError: no such name; close names, then all names, are listed.
    """
    if name in options:
        return options[name]
    raise SlonikError(unknown_name(name, options, what))


def unknown_name(name: str, options: Iterable[str], what: str) -> str:
    """The sentence that says that `name` is none of `options`."""
    names = sorted(options)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(names)})"
