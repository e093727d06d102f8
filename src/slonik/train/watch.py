"""A thread beside the training that says where each process stands, and names the one that stands still or is gone.

Each process keeps a small file in the run's folder, `alive/rank_00003.json`, which the others read: nobody who waits in
a collective call can be asked by another one. Every half minute of a run that shows progress each process has a line in
its log. One that waits longer than a minute names those behind it, and one that waits longer than `timeout_minutes` in
the middle of a step ends with exit code 76 (a library for collective calls would wait on, or abort without a word).
Decides nothing about what is trained.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from slonik.core.errors import Lost
from slonik.core.files import machine, runs
from slonik.core.progress import line_seconds

Activity = Literal["starting", "reading data", "computing", "exchanging", "evaluating", "saving", "finishing"]

_FOLDER = "alive"
_BEAT_SECONDS = 10.0
_BEHIND_SECONDS = 60.0
_SILENT_BEATS = 9
_GRACE_SECONDS = 20.0  # for the collective call itself to find out that a process is gone
_IN_STEP: tuple[Activity, ...] = ("reading data", "computing", "exchanging")
_OF_OTHERS = re.compile(
    r"gloo|nccl|c10d|tcpstore|connection (?:closed|reset|refused)|broken pipe|socket|timed? ?out", re.IGNORECASE
)
_AGAIN = "the last checkpoint is whole: the same command goes on from it, also with fewer processes"


@dataclass(frozen=True)
class Beat:
    """Where a process stood when it wrote its file.

    Attributes:
        rank, host, machine, process: which. step: the one it works on, from 1. activity: at what, for how many seconds.
        number: of the beat; it grows as long as the process lives.
    """

    rank: int
    host: str
    machine: str
    process: int
    step: int
    activity: str
    seconds: float
    number: int

    @property
    def who(self) -> str:
        return f"rank {self.rank} (process {self.process} on {self.host})"

    @property
    def where(self) -> str:
        return f"step {self.step:,}, {self.activity} for {self.seconds:.0f} s"


class Watch:
    """The watch of one process over itself and the others.

    Args:
        folder: of the run. rank, world: this process and how many there are.
        timeout_minutes: of one activity within a step.
        say: writes a line of the log. end: ends this process with a code; both for tests.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        world: int,
        timeout_minutes: float,
        *,
        say: Callable[[str], None] | None = None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._folder, self._rank, self._world = folder / _FOLDER, rank, world
        self._run, self._timeout = folder, timeout_minutes * 60
        self._every, self._say, self._end = line_seconds(), say or _to_log, end
        self._activity: Activity = "starting"
        self._step, self._since, self._number = 0, time.monotonic(), 0
        self._seen: dict[int, Beat] = {}
        self._unchanged: dict[int, int] = {}
        self._killed = killed_for_memory()
        self._gone_since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def now(self, activity: Activity, step: int) -> None:
        """Say what begins."""
        self._activity, self._step, self._since = activity, step, time.monotonic()

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._file(self._rank).unlink(missing_ok=True)

    def _work(self) -> None:
        tick = min(5.0, _BEAT_SECONDS, self._every or _BEAT_SECONDS)
        beaten = said = time.monotonic()
        while not self._over.wait(tick):
            now = time.monotonic()
            if now - beaten >= _BEAT_SECONDS:
                beaten = now
                self._beat()
                self.look()
            if self._every is not None and now - said >= self._every:
                said = now
                self.line()
            self.judge()

    def _beat(self) -> None:
        self._number += 1
        path = self._file(self._rank)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            half = path.with_suffix(".half")
            half.write_text(json.dumps(asdict(self.here())), encoding="utf-8")
            half.replace(path)
        except OSError:
            return  # a full disk is told by who writes something that counts

    def here(self) -> Beat:
        """Where this process stands."""
        seconds = round(time.monotonic() - self._since, 1)
        return Beat(
            self._rank, socket.gethostname(), machine(), os.getpid(), self._step, self._activity, seconds, self._number
        )

    def look(self) -> None:
        """Read what the others wrote."""
        for rank in set(range(self._world)) - {self._rank}:
            try:
                found = Beat(**json.loads(self._file(rank).read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                continue
            before = self._seen.get(rank)
            same = before is not None and (before.process, before.number) == (found.process, found.number)
            self._unchanged[rank] = self._unchanged.get(rank, 0) + 1 if same else 0
            self._seen[rank] = found

    def line(self) -> None:
        """The line of each half minute: of one process only where a step takes longer; the bar tells the rest."""
        here = self.here()
        waits = here.seconds >= _BEHIND_SECONDS
        if self._world == 1:
            if here.seconds >= (self._every or 0):
                self._say(f"still at {here.where}")
        elif waits or not sys.stderr.isatty():
            others = self.behind() if waits else ""
            self._say(f"rank {self._rank} of {self._world}: {here.where}" + (f"; {others}" if others else ""))

    def gone(self) -> list[Beat]:
        """Others of this machine that ended without a word."""
        mine = [beat for beat in self._seen.values() if beat.machine == machine() and not runs(beat.process)]
        return [beat for beat in mine if self._file(beat.rank).exists()]

    def behind(self) -> str:
        """Who is gone, silent or behind this process, in words; empty where nobody is."""
        here, gone = self.here(), {beat.rank for beat in self.gone()}
        told = []
        for rank, beat in sorted(self._seen.items()):
            if rank in gone:
                told.append(f"{beat.who} is gone, last at {beat.where}")
            elif self._unchanged.get(rank, 0) >= _SILENT_BEATS:
                silent = self._unchanged[rank] * _BEAT_SECONDS
                told.append(f"{beat.who} has said nothing for {silent:.0f} s, last at {beat.where}")
            elif beat.step < here.step or (beat.step == here.step and _is_behind(beat.activity, here.activity)):
                told.append(f"{beat.who} is behind: {beat.where}")
        return "; ".join(told)

    def judge(self) -> None:
        """End this process where another is gone or nothing has moved for too long."""
        here = self.here()
        if self._world == 1 or here.activity not in _IN_STEP:
            return
        if not self.gone():
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        elif time.monotonic() - self._gone_since >= _GRACE_SECONDS:
            self._stop(self._without())
        if here.seconds >= self._timeout:
            self.look()
            others = self.behind() or (
                "every process says that it is at the same place, so the network between them may be broken "
                "(NCCL_DEBUG=INFO tells more)"
            )
            self._stop(
                f"rank {self._rank} has waited {here.seconds / 60:.0f} minutes at step {here.step:,} ({here.activity}) "
                f"for the other processes: {others}; {_AGAIN}, and train.timeout_minutes raises the limit"
            )

    def _stop(self, sentence: str) -> None:
        self._say(f"error: {sentence}")
        self._over.set()
        self._end(Lost.exit_code)

    def lost(self, error: Exception) -> Lost | None:
        """The sentence for an error of a collective call; None where it is something else."""
        if self._world == 1 or not _OF_OTHERS.search(str(error)):
            return None
        # It takes the operating system a moment to bury a process whose connection is closed already.
        for _ in range(10):
            self.look()
            if self.gone():
                return Lost(self._without())
            time.sleep(0.3)
        first = str(error).strip().splitlines()[0][:200]
        others = self.behind() or "another process has ended or cannot be reached: its own log says why"
        return Lost(
            f"the exchange with the other processes failed at step {self._step:,} ({first}): {others}; {_AGAIN}"
        )

    def _without(self) -> str:
        gone = self.gone()
        who = ", ".join(f"{beat.who} (last at step {beat.step:,}, {beat.activity})" for beat in gone)
        if (killed := killed_for_memory() - self._killed) > 0:
            why = (
                f"the kernel has killed {killed} process(es) of this machine for lack of memory since the run began: "
                "give it more memory, or lower batch_tokens"
            )
        else:
            why = "exit code 137 or -9 in the launcher's log is SIGKILL, most often for lack of memory (dmesg tells)"
        return f"gone without a word: {who}; {why}; {_AGAIN}; the log is {self._run / 'metrics.jsonl'}"

    def _file(self, rank: int) -> Path:
        return self._folder / f"rank_{rank:05d}.json"


def forget(folder: Path) -> None:
    """Remove what the processes of an earlier start wrote; for the first process, before the others begin."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def killed_for_memory() -> int:
    """How many processes of this machine (of this container, where it counts them) the kernel has killed so far."""
    for path in (_control_group() / "memory.events", Path("/proc/vmstat")):
        try:
            counts = dict(line.split() for line in path.read_text(encoding="utf-8").splitlines())
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0


def _control_group() -> Path:
    root = Path("/sys/fs/cgroup")
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip().rpartition("::")[2].strip("/")
    except OSError:
        return root
    return root / own if (root / own / "memory.events").exists() else root


def _is_behind(activity: str, than: str) -> bool:
    order = (*_IN_STEP, "evaluating", "saving", "finishing")
    return activity in order and than in order and order.index(activity) < order.index(than)


def _to_log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
