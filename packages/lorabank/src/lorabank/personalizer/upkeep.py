"""What a personalizer does beside its callers: deliver episodes, rebuild skills, consolidate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from lorabank.clock import Clock
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.logs import get_logger
from lorabank.personalizer.courier import StoreQueue

# Seconds until delivery starts again after the store, not the bank, has failed.
PAUSE = 1.0

log = get_logger(__name__)


class Upkeep:
    """Background work over a bank and a population. Belongs to one event loop."""

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        queue: StoreQueue,
        clock: Clock,
        consolidate: Callable[[], Awaitable[object]],
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._clock = clock
        self._consolidate = consolidate
        self._rebuild = anyio.Event()

    def start(self, tasks: TaskGroup, consolidate_every: float | None) -> None:
        """Begin, in ``tasks``."""
        if self._engine.has_reasoning_bank():
            tasks.start_soon(self._deliver)
        elif not self._engine.trains_populations:
            return
        tasks.start_soon(self._rebuild_when_asked)
        if consolidate_every is not None:
            tasks.start_soon(self._consolidate_periodically, consolidate_every)

    def rebuild(self) -> None:
        """What was learned from many has lost one of them: consolidate soon."""
        self._rebuild.set()

    async def drain(self) -> None:
        """Give the bank what it takes in the time to drain; the rest stays in the store."""
        try:
            with anyio.move_on_after(self._engine.config.outbox.drain):
                await self._queue.emptied()
        except Exception:
            log.exception("the store failed while its queue was emptied")

    async def _deliver(self) -> None:
        while True:
            try:
                await self._engine.deliver_from(self._queue)
            except Exception:
                log.exception("delivery stopped, it starts again")
                await self._clock.sleep(PAUSE)

    async def _rebuild_when_asked(self) -> None:
        while True:
            await self._rebuild.wait()
            self._rebuild = anyio.Event()
            await self._attempt()

    async def _consolidate_periodically(self, pause: float) -> None:
        while True:
            await self._clock.sleep(pause)
            await self._attempt()

    async def _attempt(self) -> None:
        try:
            await self._consolidate()
        except Exception:
            log.exception("consolidation failed")
