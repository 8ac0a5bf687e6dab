"""Episodes for an outbox by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import numpy as np
from tests.engine.banks import FakeTime, ScriptedBank

from lorabank import Hyperparameters, OutboxConfig, Pattern
from lorabank.breaker import CircuitBreaker
from lorabank.outbox import Outbox


def episode(number: int, user: str = "u") -> Pattern:
    return Pattern(
        id=f"{number:04d}",
        namespace="default",
        user_key=user,
        task="",
        context=np.ones(6, np.float32),
        objective="mse",
        rank=2,
        hyperparameters=Hyperparameters(),
        selection="default",
        propensity=1.0,
        samples=1,
        created_at=float(number),
    )


@asynccontextmanager
async def running(
    bank: ScriptedBank, time: FakeTime, *, failures_to_open: int = 1000, **changes: object
) -> AsyncIterator[Outbox]:
    config = OutboxConfig(**({"backoff": 1.0, "backoff_max": 8.0} | changes))  # type: ignore[arg-type]
    breaker = CircuitBreaker(failures_to_open, 30.0, time.clock.monotonic)
    outbox = Outbox(bank.store_patterns, config, breaker, time.clock)
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run)
        yield outbox
        group.cancel_scope.cancel()


def ids(deliveries: Sequence[Sequence[Pattern]]) -> list[str]:
    return [pattern.id for batch in deliveries for pattern in batch]


async def offer(outbox: Outbox, numbers: Sequence[int], user: str = "u") -> list[bool]:
    return [await outbox.offer(episode(number, user)) for number in numbers]
