"""Encode a stream of lines of any size in constant memory, in order, with bad lines handled by a stated policy.

"zero" (default): a row of zeros, so that row i stays line i. "skip": no row. "stop": an error at the first one.
Every bad line is counted, and reported by number as it is met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.protocols import Encoder
from slonik.runtime.lines import Line, in_chunks
from slonik.runtime.writers import Writer

Policy = Literal["zero", "skip", "stop"]
POLICIES: tuple[Policy, ...] = ("zero", "skip", "stop")


@dataclass
class Summary:
    """What happened to a stream: lines read, rows written, bad lines by kind."""

    lines: int = 0
    rows: int = 0
    bad: Counter[str] = field(default_factory=Counter)

    @property
    def bad_lines(self) -> int:
        """How many lines were bad."""
        return sum(self.bad.values())


def encode_stream(
    encoder: Encoder,
    lines: Iterable[Line],
    writer: Writer,
    *,
    prefix: str | None = None,
    bad_lines: Policy = "zero",
    on_bad: Callable[[Line], None] | None = None,
    on_chunk: Callable[[list[Line]], None] | None = None,
) -> Summary:
    """Encode every good line and write its vector; the writer is not closed.

    Args:
        prefix: None = the model's default, "" = none.
        on_bad: called with each bad line.
        on_chunk: called after each chunk was written, for a progress bar.

    Raises:
        SlonikError: an unknown policy, or a bad line under "stop".
    """
    if bad_lines not in POLICIES:
        raise SlonikError(f"the policy for bad lines is {bad_lines!r}: use {', '.join(POLICIES)}")
    summary = Summary()
    for chunk in in_chunks(lines):
        for line in chunk:
            if line.error is not None:
                _meet(line, summary, bad_lines, on_bad)
        _encode_chunk(encoder, chunk, writer, prefix, skip=bad_lines == "skip", summary=summary)
        if on_chunk is not None:
            on_chunk(chunk)
    return summary


def _meet(line: Line, summary: Summary, policy: Policy, on_bad: Callable[[Line], None] | None) -> None:
    assert line.error is not None
    if policy == "stop":
        raise SlonikError(f"line {line.number} is {line.error}: mend it, or use --bad-lines zero or skip")
    summary.bad["too long" if "bytes long" in line.error else line.error.split(" (")[0]] += 1
    if on_bad is not None:
        on_bad(line)


def _encode_chunk(
    encoder: Encoder, chunk: list[Line], writer: Writer, prefix: str | None, *, skip: bool, summary: Summary
) -> None:
    kept = [line for line in chunk if line.error is None or not skip]
    good = [place for place, line in enumerate(kept) if line.error is None]
    vectors = np.zeros((len(kept), encoder.dimension), dtype=np.float32)
    if good:
        vectors[good] = encoder.encode([kept[place].text for place in good], prefix=prefix)
    writer.write(vectors, [line.number for line in kept], [line.error for line in kept])
    summary.lines += len(chunk)
    summary.rows += len(kept)
