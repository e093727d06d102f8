"""Processes that are forked from this one, which has imported everything already: a new interpreter's seconds of it.

Several of one run are told of each other as torchrun tells its own, by variables of their environment, and meet over
gloo. A real torchrun starts the run of tests/pretraining/test_pretrain.py.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState


def together(count: int, work: Callable[[], object], said: Path) -> str:
    """Do `work` in `count` processes at once; what they wrote on standard output.

    Args:
        said: a folder for what each writes.

    Raises:
        AssertionError: one of them failed (the others are then ended); with the last of what it wrote.
    """
    assert not torch.distributed.is_initialized()
    said.mkdir()
    port = _free_port()
    running = {}
    for rank in range(count):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        told = {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}
        running[forked(work, said / str(rank), told)] = rank
    try:
        while running:
            for process, rank in list(running.items()):
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    del running[process]
                    assert status == 0, (said / f"{rank}.err").read_text(encoding="utf-8")[-3000:]
            time.sleep(0.02)
    finally:
        for process in running:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    return "".join((said / f"{rank}.out").read_text(encoding="utf-8") for rank in range(count))


def forked(work: Callable[[], object], said: Path, told: Mapping[str, str] | None = None) -> int:
    """Begin `work` in a process of its own, whose id this is; it ends with code 0, or 1 where `work` fails.

    Args:
        said: what it writes goes to this path with .out and .err.
        told: variables of its environment.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        for stream, ending in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{said}.{ending}", os.O_WRONLY | os.O_CREAT), stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", encoding="utf-8")
        os.environ.update(told or {})
        torch.set_num_threads(1)
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()  # Accelerate may have settled for one process in the parent
        work()
        code = 0
    except SystemExit as ended:
        code = int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
    finally:  # the rest of the tests is the parent's
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
