"""Stream texts of a data set of the Hugging Face hub: `hub:OWNER/NAME`, `hub:OWNER/NAME:SPLIT` or `...:CONFIG:SPLIT`.

Needs the `datasets` library, which is imported only here; nothing is downloaded before the first text is asked for,
and nothing is stored. Local files are read by `readers`, without that library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError

PREFIX = "hub:"


def parse_hub_name(name: str) -> tuple[str, str | None, str]:
    """(data set, configuration or None, split) of `hub:OWNER/NAME[:CONFIG]:SPLIT`; the split is `train` by default.

    Raises:
        SlonikError: not of that form.
    """
    parts = name.removeprefix(PREFIX).split(":")
    if not parts[0] or len(parts) > 3 or not all(parts):
        raise SlonikError(
            f"{name} is not of the form hub:OWNER/NAME, hub:OWNER/NAME:SPLIT or hub:OWNER/NAME:CONFIG:SPLIT"
        )
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return parts[0], None, parts[1] if len(parts) == 2 else "train"


def read_hub(name: str, *, column: str | int | None = None) -> Iterator[str]:
    """Texts of the data set `name` one after another; blank ones are skipped.

    Args:
        column: the field with the text (default: text).

    Raises:
        SlonikError: no such data set, split or field, or the hub is out of reach.
        MissingExtra: `datasets` is not installed.
    """
    dataset, config, split = parse_hub_name(name)
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(f"reading {name}", "hub", "datasets") from error
    field = "text" if column is None else str(column)
    try:
        rows: Any = datasets.load_dataset(dataset, config, split=split, streaming=True)
        for row in rows:
            if field not in row:
                raise SlonikError(
                    f"{name} has no field {field!r} (it has: {', '.join(row)[:200]}): name one by --column"
                )
            if isinstance(row[field], str) and (text := row[field].strip()):
                yield text
    except SlonikError:
        raise
    except Exception as error:  # offline, refused, no such split: many classes of several libraries
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SlonikError(f"cannot read {name} from the hub ({reason}): fetch it to a file and give that") from None
