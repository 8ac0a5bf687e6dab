"""A circuit breaker (Nygard, "Release It!", 2007): stop asking for a while what keeps failing."""

from __future__ import annotations

from collections.abc import Callable


class CircuitBreaker:
    """Opens after some failures in a row; after a pause, one probe decides.

    Closed: everything goes through. Open: nothing does. Once the pause is over it is half-open:
    `probing` is true until a success closes it, or a failure opens it for another pause.
    """

    def __init__(self, failures_to_open: int, pause: float, monotonic: Callable[[], float]) -> None:
        self._limit = failures_to_open
        self._pause = pause
        self._monotonic = monotonic
        self._failures = 0
        self._opened_at: float | None = None

    @property
    def closed(self) -> bool:
        """Whether everything may go through."""
        return self._opened_at is None

    @property
    def remaining(self) -> float:
        """Seconds until a probe may be sent; 0 when closed or half-open."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._pause - self._monotonic())

    @property
    def probing(self) -> bool:
        """Whether it is half-open: one request may be sent to find out."""
        return not self.closed and self.remaining == 0.0

    def success(self) -> None:
        """A request succeeded: close."""
        self._failures = 0
        self._opened_at = None

    def failure(self) -> None:
        """A request failed: open after too many in a row, or at once when probing."""
        self._failures += 1
        if self._failures >= self._limit:
            self._opened_at = self._monotonic()
