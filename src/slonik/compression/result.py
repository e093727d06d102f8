"""What a compression made, and where it keeps its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.compression.report.tables import Stage
from slonik.core.passport import Step
from slonik.core.records import Record

Announce = Callable[[str], None]


@dataclass
class Compression:
    """What the recipe made.

    Attributes:
        out: the new checkpoint.
        before, after: everything measured on the original and on the result, the same way.
        differences: after minus before, paired where items can be paired.
        lineage: steps of the new checkpoint's passport.
        folders: names of the steps' folders.
        summaries: step -> what it found.
        stages: the models on the way, with what was measured on them.
        seconds: step -> how long it took.
    """

    out: Path
    before: list[Record] = field(default_factory=list)
    after: list[Record] = field(default_factory=list)
    differences: list[Record] = field(default_factory=list)
    lineage: tuple[Step, ...] = ()
    folders: list[str] = field(default_factory=list)
    summaries: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)


def work_folder(out: Path) -> Path:
    """Where the steps of a run for `out` are kept until it is whole."""
    return out.parent / f"{out.name}.steps"
