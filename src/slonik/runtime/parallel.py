"""A function over items in several threads, in order, with few results waiting at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(run: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """`run(item)` for each item, in order; with one thread in the caller's own."""
    if threads <= 1:
        yield from map(run, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="slonik") as pool:
        waiting: deque[Future[Result]] = deque()
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
