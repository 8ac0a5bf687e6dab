"""Time as a dependency, so that tests can move it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from.

    Attributes:
        wall: unix seconds, for timestamps.
        monotonic: seconds that never go back, for ages and pauses.
        sleep: waits that many seconds.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
