"""A step of a checkpoint's life in few words: what was set, what was found, plain values alone.

For `slonik show` and the board; passports hold whole configurations and summaries, nested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slonik.core.passport import Step

_LONGEST = 160  # characters of a value
_MOST = 14  # values of a step
_SMALL = 6  # entries of a nested object that is told entry by entry


def settings(step: Step) -> dict[str, str]:
    """What was set: plain values, those that say nothing left out."""
    plain = {
        name: in_short(value)
        for name, value in step.config.items()
        if value not in (None, "", [], {}, False) and not isinstance(value, dict)
    }
    return dict(list(plain.items())[:_MOST])


def findings(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a step found out: `x_before` and `x_after` as one, nested objects by dotted names."""
    flat = dict(_flat(summary))
    found: dict[str, str] = {}
    for name, value in flat.items():
        if name.endswith("_after") and f"{name[:-6]}_before" in flat:
            continue
        if name.endswith("_before") and f"{name[:-7]}_after" in flat:
            found[name[:-7]] = f"{in_short(value)} → {in_short(flat[f'{name[:-7]}_after'])}"
        else:
            found[name] = in_short(value)
    return dict(list(found.items())[:_MOST])


def _flat(content: Mapping[str, Any], trail: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in content.items():
        key = f"{trail}{name}"
        if isinstance(value, dict):
            if len(value) <= _SMALL:
                yield from _flat(value, f"{key}.")
        elif value not in (None, "", []) and not (isinstance(value, list) and isinstance(value[0], dict)):
            yield key, value


def in_short(value: Any) -> str:
    """A value for people: 1,234; 0.1234; 6 × 12; texts cut."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(set(map(str, value))) == 1 and len(value) > 1:
        return f"{len(value)} × {in_short(value[0])}"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
