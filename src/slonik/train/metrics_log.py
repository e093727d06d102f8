"""One JSON object per line: step, loss and its parts, rates, evaluation figures. Cut back on resume."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slonik.core import atomic
from slonik.core.errors import disk_error


class MetricsLog:
    """Appends to `path`; lines after the resumed step, and a last line cut by a crash, are dropped first.

    Args:
        path: the JSONL file.
        step: the step that the run continues from; 0 starts an empty log.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        kept = [line for line in read_metrics(path) if line["step"] <= step] if step else []
        atomic.write_text(path, "".join(_line(line) for line in kept))
        self._stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)

    def write(self, figures: Mapping[str, Any]) -> None:
        """Append one object; it reaches the operating system at once.

        Raises:
            SlonikError: full disk.
        """
        try:
            self._stream.write(_line(figures))
            self._stream.flush()
        except OSError as error:
            raise disk_error(error, self._path) from error

    def sync(self) -> None:
        """Flush to disk: what a checkpoint counts on must survive a power cut."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a metrics log; empty where there is none."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue  # the one line that a crash cut
    return lines


def _line(figures: Mapping[str, Any]) -> str:
    return json.dumps(figures, ensure_ascii=False) + "\n"
