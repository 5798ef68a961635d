"""Work beside a loop, in threads: what it needs next is made ahead of it, what it has done with is handed on behind it.

Decoding, resizing, flow, networks and encoding give up the interpreter lock. Queues are short, so memory is bounded.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Given = ParamSpec("Given")


def ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items in the same order, the next ``count`` made by a thread meanwhile; errors come in their place.

    >>> list(ahead(iter("abc"), 2))
    ['a', 'b', 'c']
    """
    with ThreadPoolExecutor(max_workers=1) as reader:
        end = object()
        waiting = deque(reader.submit(next, items, end) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(reader.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()
            if (close := getattr(items, "close", None)) is not None:
                reader.submit(close).result()  # in the thread that ran it


class Behind:
    """Calls made one after the other by a thread; the loop that asks for them waits where too many are open.

    Args:
        count: calls that may be open.
    """

    def __init__(self, count: int):
        self._count = count
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._open: deque[Future] = deque()

    def do(self, work: Callable[Given, object], *given: Given.args, **named: Given.kwargs) -> None:
        """Ask for a call; the error of an earlier one is raised here, or by ``finish``."""
        self._open.append(self._worker.submit(work, *given, **named))
        while len(self._open) > self._count:
            self._open.popleft().result()

    def finish(self) -> None:
        """Wait for what is open."""
        try:
            while self._open:
                self._open.popleft().result()
        finally:
            self.stop()

    def stop(self) -> None:
        """Drop what has not begun, and wait for the call that has."""
        self._worker.shutdown(cancel_futures=True)
