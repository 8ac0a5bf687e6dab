"""Updates that are kept: a run whose process was killed finds them, and goes on after them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from lorabank.adapter import Adapter
from lorabank.background import background
from lorabank.clock import Clock
from lorabank.engine import LoRAPersonalizationEngine, UpdateResult
from lorabank.personalizer.courier import StoreQueue
from lorabank.stores import AdapterStore, Change, Duty, Experience, StoreCounts
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import user_key
from lorabank.types.pattern import Pattern
from lorabank.types.values import changed


class Keeper:
    """Commits each update whole: adapter, finished episode and feedback. Use `keeping`.

    As a `Personalizer` does, for one caller that wants to see each adapter.
    """

    def __init__(
        self, engine: LoRAPersonalizationEngine, store: AdapterStore, clock: Clock
    ) -> None:
        self.engine = engine
        self.store = store
        self._clock = clock
        self._revisions: dict[str, int] = {}
        self._queue = StoreQueue(store, self._forget_again, clock)
        self._queue.leads = True

    async def find(self, user_id: str) -> Adapter | None:
        """The adapter as it was kept last."""
        stored = await self.store.get(user_id)
        if stored is None:
            return None
        self._revisions[user_id] = stored.revision
        return self.engine.with_kernel(stored.adapter)

    async def update(self, adapter: Adapter, feedback: Feedback) -> UpdateResult:
        """As the engine's `update_adapter`. What this returned from is kept."""
        now, key = self._clock.wall(), self._key(adapter)

        async def commit(updated: Adapter, finished: Pattern | None) -> None:
            await self._commit(updated, finished, Experience(key, feedback, now))

        result = await self.engine.update_adapter(adapter, feedback, commit=commit)
        if result.report.finished is not None:
            self._queue.notify()
        return result

    async def flush(self) -> None:
        """Wait until the bank, if there is one, has every finished episode."""
        if self.engine.has_reasoning_bank():
            with anyio.move_on_after(self.engine.config.outbox.drain):
                await self._queue.emptied()

    async def finish(self) -> StoreCounts:
        """The last episodes have no outcome, as nothing comes after them: give them as they are.

        Returns what is left with the store.
        """
        for user_id in list(self._revisions):
            adapter = await self.find(user_id)
            if adapter is not None and adapter.pending is not None:
                await self._commit(changed(adapter, pending=None), adapter.pending, None)
        await self.flush()
        return await self.store.counts()

    async def deliver(self) -> None:
        """Give the bank what is queued, until cancelled."""
        await self.engine.deliver_from(self._queue)

    async def _commit(
        self, adapter: Adapter, episode: Pattern | None, experience: Experience | None
    ) -> None:
        change = Change(
            adapter=adapter,
            user_key=self._key(adapter),
            expected=self._revisions.get(adapter.user_id),
            episodes=() if episode is None else (episode,),
            experience=experience,
        )
        self._revisions[adapter.user_id] = await self.store.commit(change)

    def _key(self, adapter: Adapter) -> str:
        return user_key(adapter.user_id, self.engine.config.user_key_secret)

    async def _forget_again(self, duty: Duty) -> None:
        raise AssertionError(f"nobody was forgotten in this store, {duty.key} neither")


@asynccontextmanager
async def keeping(
    engine: LoRAPersonalizationEngine, store: AdapterStore, clock: Clock
) -> AsyncIterator[Keeper]:
    """A keeper that delivers in the background, if the engine has a bank."""
    keeper = Keeper(engine, store, clock)
    async with background() as tasks:
        if engine.has_reasoning_bank():
            tasks.start_soon(keeper.deliver)
        try:
            yield keeper
        finally:
            tasks.cancel_scope.cancel()
