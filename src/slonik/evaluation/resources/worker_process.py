"""The parent's end of a measuring process: start it, ask it, and end it; it never waits without a limit."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from slonik.evaluation.resources.engines import System

_END_AFTER = 5.0


class WorkerFailed(Exception):
    """A system could not start, failed, or did not answer in time; the message is for people."""


class WorkerProcess:
    """One system in a process of its own; a context manager that ends it.

    Args:
        first_text: encoded before the first answer.
        timeout: seconds that any one answer may take.

    Attributes:
        start_seconds: from the start of the process to its first vector.
        dimension, bytes_on_disk, facts: what it said about itself.
        failed: it is out of the race.

    Raises:
        WorkerFailed: it did not get as far as its first vector.
    """

    def __init__(self, system: System, threads: int, first_text: str, timeout: float) -> None:
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._answers: queue.Queue[bytes | None] = queue.Queue()
        self.failed = False
        spec = asdict(system) | {"threads": threads, "first_text": first_text}
        command = [sys.executable, "-m", "slonik.evaluation.resources.worker", json.dumps(spec)]
        environment = {**os.environ, **thread_environment(threads)}
        start = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            hello = self._answer()
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - start
        self.dimension = int(hello["dimension"])
        self.bytes_on_disk = int(hello["bytes"]) or None
        self.facts: Mapping[str, Any] = hello["facts"]

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send an order and wait for its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode("utf-8") + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None
        return self._answer()

    def close(self) -> None:
        """End the process: politely, then not."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=0.0 if self.failed else _END_AFTER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=_END_AFTER)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._timeout)
        except queue.Empty:
            self.failed = True
            raise WorkerFailed(f"it gave no answer within {self._timeout:g} s") from None
        if line is None:
            raise self._failure()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self) -> WorkerFailed:
        self.failed = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_END_AFTER)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", errors="replace").strip().splitlines()
        # The last line of a traceback is the error itself.
        return WorkerFailed(lines[-1] if lines else f"it ended with exit code {self._process.returncode}")


def thread_environment(threads: int) -> Mapping[str, str]:
    """Environment that holds every known library of a new process to so many threads.

    Threads that wait sleep instead of spinning, so that idle systems leave the processor alone.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    fixed = {"TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE"}
    return dict.fromkeys(names, str(threads)) | fixed
