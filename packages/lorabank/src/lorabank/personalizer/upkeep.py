"""What a personalizer does beside its callers: deliver episodes, rebuild skills, consolidate."""

from __future__ import annotations

import secrets

import anyio
from anyio.abc import TaskGroup

from lorabank.clock import Clock
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.errors import StoreError
from lorabank.logs import get_logger
from lorabank.personalizer.consolidating import Consolidator
from lorabank.personalizer.courier import StoreQueue
from lorabank.stores import AdapterStore

# Seconds until delivery starts again after the store, not the bank, has failed.
PAUSE = 1.0
# Of the processes that share a store, one delivers; others take over when its lease has run out.
LEASE = 15.0
BEAT = 1.0  # seconds between looks for what other processes have committed
BEATS = 5  # until the lease is prolonged

log = get_logger(__name__)


class Upkeep:
    """Background work over a bank and a population. Belongs to one event loop."""

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        queue: StoreQueue,
        clock: Clock,
        consolidator: Consolidator,
    ) -> None:
        self._engine = engine
        self._store = store
        self._queue = queue
        self._holder = secrets.token_hex(16)
        self._clock = clock
        self._consolidator = consolidator

    def start(self, tasks: TaskGroup, consolidate_every: float | None) -> None:
        """Begin, in ``tasks``."""
        if self._engine.has_reasoning_bank():
            tasks.start_soon(self._lead)
            tasks.start_soon(self._deliver)
        elif not self._engine.trains_populations:
            return
        tasks.start_soon(self._rebuild_when_asked)
        if consolidate_every is not None:
            tasks.start_soon(self._consolidate_periodically, consolidate_every)

    async def drain(self) -> None:
        """Give the bank what it takes in the time to drain; the rest stays in the store.

        If another process delivers, everything is left to it.
        """
        try:
            with anyio.move_on_after(self._engine.config.outbox.drain):
                await self.seek_lead()
                if self._queue.leads:
                    await self._queue.emptied()
        except Exception:
            log.exception("the store failed while its queue was emptied")

    async def seek_lead(self) -> bool:
        """Take or prolong the lease; whether this process has it now.

        A new leader takes over what others left undone.
        """
        now, led = self._clock.wall(), self._queue.leads
        self._queue.leads = await self._store.lease("delivery", self._holder, now, LEASE)
        if self._queue.leads and not led:
            self._queue.notify()
            if await self._store.duties("rebuild", now):
                self._consolidator.ask()
        return self._queue.leads

    async def resign(self) -> None:
        """Let others deliver from now on."""
        was_leading, self._queue.leads = self._queue.leads, False
        if was_leading:
            try:
                with anyio.move_on_after(self._engine.config.outbox.drain):
                    await self._store.lease("delivery", self._holder, self._clock.wall(), 0.0)
            except StoreError as exc:
                log.warning("the lease was not given back, it runs out", error=str(exc))

    async def _lead(self) -> None:
        while True:
            try:
                await self.seek_lead()
            except Exception:
                self._queue.leads = False
                log.exception("the lease of the delivery could not be had")
            for _ in range(BEATS):
                await self._clock.sleep(BEAT)
                self._queue.notify()

    async def _deliver(self) -> None:
        while True:
            try:
                await self._engine.deliver_from(self._queue)
            except Exception:
                log.exception("delivery stopped, it starts again")
                await self._clock.sleep(PAUSE)

    async def _rebuild_when_asked(self) -> None:
        while True:
            await self._consolidator.asked()
            await self._attempt()

    async def _consolidate_periodically(self, pause: float) -> None:
        while True:
            await self._clock.sleep(pause)
            await self._attempt()

    async def _attempt(self) -> None:
        try:
            await self._consolidator.consolidate()
        except Exception:
            log.exception("consolidation failed")
