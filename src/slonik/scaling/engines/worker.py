"""A worker of the local engine, as a program: takes tasks from the socket of the given number until it is closed."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection


def main(number: int) -> None:
    """Run tasks: (executor, rank) comes in, whether it succeeded goes out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its workers itself
    connection = Connection(number)
    while True:
        try:
            executor, rank = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(executor.run_task(rank))


if __name__ == "__main__":
    main(int(sys.argv[1]))
