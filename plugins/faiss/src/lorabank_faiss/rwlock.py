"""A lock that many readers or one writer may hold; nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lorabank.errors import BankUnavailableError


class ReadersWriterLock:
    """Writers go first, so that readers can't starve them. Not reentrant.

    Raises: BankUnavailableError from either method after ``patience`` seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self.writers_waiting = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold it together with other readers."""
        with self._changed:
            self._wait(lambda: not self._writing and not self.writers_waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold it alone."""
        with self._changed:
            self.writers_waiting += 1
            try:
                self._wait(lambda: not self._writing and not self._readers)
                self._writing = True
            finally:
                self.writers_waiting -= 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _wait(self, free: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience
        while not free():
            left = deadline - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                if free():
                    return
                raise BankUnavailableError("the index is busy: try again later")
