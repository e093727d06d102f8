"""One command line with a place in braces, and the values that it takes: seeds, folds.

`pretrain r.yaml --seed {seed} --out bert-{seed}` with `seed=0-4` becomes five command lines. Nothing else in braces is
touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slonik.core.errors import SlonikError

_SPEC = re.compile(r"([A-Za-z_]\w*)=(.+)")
_RANGE = re.compile(r"(\d+)-(\d+)")
MOST = 10_000


def expand(words: Sequence[str], spec: str | None) -> tuple[tuple[str, ...], ...]:
    """The command lines of an array; one where there is none.

    Args:
        spec: `NAME=VALUE,VALUE,...` or `NAME=FIRST-LAST`.

    Raises:
        SlonikError: it is not of that form, values come twice, or no word has the place `{NAME}`.
    """
    if spec is None:
        return (tuple(words),)
    matched = _SPEC.fullmatch(spec)
    if matched is None:
        raise SlonikError(f"--array {spec!r} is not NAME=VALUE,VALUE,...: write seed=0,1,2 or fold=0-4")
    name, values = matched.group(1), _values(matched.group(2), spec)
    place = "{" + name + "}"
    if not any(place in word for word in words):
        raise SlonikError(
            f"--array {spec!r} changes nothing: write {place} where the value goes, for example --seed {place} --out "
            f"runs/bert-{place}"
        )
    return tuple(tuple(word.replace(place, value) for word in words) for value in values)


def _values(text: str, spec: str) -> list[str]:
    if (ends := _RANGE.fullmatch(text)) is not None:
        first, last = int(ends.group(1)), int(ends.group(2))
        if not first <= last < first + MOST:
            raise SlonikError(
                f"--array {spec!r}: the range goes from a number to a larger one, at most {MOST:,} values"
            )
        return [str(value) for value in range(first, last + 1)]
    values = [value.strip() for value in text.split(",")]
    if not all(values) or len(set(values)) < len(values):
        raise SlonikError(f"--array {spec!r} has a value twice, or one that is empty")
    return values


def without_braces(text: str) -> str:
    """What an array as a whole is named after: `bert-{seed}` is `bert-seed`."""
    return re.sub(r"[{}]", "", text)
