"""What has become of a job: the scheduler's word for it, and a sentence about why it ended, from its log.

Logs are read from their end only. Nothing is judged that neither the scheduler nor the log says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_TAIL = 64_000  # bytes

# In this order: a process that was killed for memory makes the others say that they lost it.
_REASONS: tuple[tuple[str, str], ...] = (
    (r"slonik launch: not started again: (.*)", "slonik refused it: {0}"),
    (
        r"torch\.(?:cuda\.)?OutOfMemoryError|CUDA out of memory",
        "a process wanted more memory than its GPU has: take smaller batches, and more of them to a "
        "step (accumulate), train.sharding=full, or a larger GPU",
    ),
    (
        r"(?i)oom[-_ ]?kill|out_of_memory|out of memory|exceeded job memory limit|cannot allocate memory",
        "a process was killed because the node's memory (or the job's share of it) was full: give more with --memory, "
        "or read less at once",
    ),
    (
        r"DUE TO TIME LIMIT|^TIMEOUT|DeadlineExceeded",
        "its time was over: give more with --time; the last checkpoint is there",
    ),
    (
        r"Signal 9 \(SIGKILL\)|exit code 137|exit code -9",
        "a process was killed (signal 9), as happens where memory is full: give more with --memory",
    ),
    (r"DUE TO NODE FAILURE", "a node was lost"),
    (r"DUE TO PREEMPTION", "another job took its place"),
    (r"error: (.*)", "{0}"),
)


@dataclass(frozen=True)
class State:
    """One element of a job.

    Attributes:
        element: as the scheduler calls it.
        state: the scheduler's word.
        why: what it says more.
        log: the file with what the element wrote, where it is here.
        reason: a sentence about its end, from the log.
    """

    element: str
    state: str
    why: str = ""
    log: Path | None = None
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self.state.upper() not in _OPEN

    @property
    def well(self) -> bool:
        """Whether it has ended as it should."""
        return self.state.upper() in _WELL


_OPEN = {
    "PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED",
    "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT", "ACTIVE", "CREATED", "STARTING", "SUBMITTED",
    "RECOVERING", "CANCELLING",
}  # fmt: skip
_WELL = {"COMPLETED", "COMPLETE", "SUCCEEDED"}


def tail(log: Path, size: int = _TAIL) -> str:
    """The last `size` bytes of a log as text; nothing where there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - size))
            return stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def reason_of(text: str) -> str:
    """A sentence about the end that a log tells of; nothing where it tells of none that is known."""
    for pattern, sentence in _REASONS:
        found = re.findall(pattern, text)
        if found:
            return sentence.format(found[-1].strip() if isinstance(found[-1], str) else "")
    return ""
