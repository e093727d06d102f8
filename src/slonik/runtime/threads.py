"""Work on several threads with the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


def in_threads(run: Callable[[Item], T], items: Sequence[Item], threads: int) -> Iterator[T]:
    """`run(item)` for each item, in order, few results waiting at any time; with one thread in the caller's own."""
    if threads <= 1:
        yield from map(run, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="slonik") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(run, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
