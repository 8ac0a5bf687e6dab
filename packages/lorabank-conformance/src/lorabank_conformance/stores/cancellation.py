"""Laws of cancellation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.lowlevel

from lorabank.protocols import Capability, PatternStore, Refusal
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE, NOW
from lorabank_conformance.suite import Suite

SIZE = 60
# Turns of the event loop after which a call is cancelled: before it begins, and ever later.
TURNS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 30, 50, 100, 200, 400, 800)


class CancellationLaws(Suite):
    """Cancellation."""

    @law()
    async def test_cancel_put(self, store: PatternStore) -> None:
        """Protects against half a batch: cancelled at any moment, a write is there or is not.

        It is there if the call returned, and it never turns up later, over a newer one.
        """
        await store.put_many(self._batch("0"))
        known = "0"
        for turns in TURNS:
            cancelled, newer = f"cancelled after {turns}", f"after {turns}"
            done = await cancel_after(turns, partial(store.put_many, self._batch(cancelled)))
            there = await self._tasks(store)
            assert there in ({cancelled}, *([] if done else [{known}]))
            await store.put_many(self._batch(newer))
            assert await self._tasks(store) == {newer}
            known = newer

    @law(Capability.DELETE)
    async def test_cancel_delete(self, store: PatternStore) -> None:
        """Protects likewise: a cancelled delete removed everything or nothing."""
        for turns in TURNS:
            await store.put_many(self._batch(""))
            done = await cancel_after(turns, lambda: store.delete(NAMESPACE, EVERYTHING))
            left = len(await store.scan(NAMESPACE, EVERYTHING, None, 1000))
            assert left in (0, 0 if done else SIZE)
            matches = await store.search(NAMESPACE, self.make.axis(0), 1000, EVERYTHING)
            assert len(matches) == left

    @law(Capability.REFUSE)
    async def test_cancel_refuse(self, store: PatternStore) -> None:
        """Protects the forgotten: what was refused is, if the call returned; the store works on."""
        assert isinstance(store, Refusal)
        for turns in TURNS:
            user = f"user-{turns}"
            done = await cancel_after(turns, partial(store.refuse, NAMESPACE, user, NOW))
            await store.put_many([self.make.pattern(user, user_key=user)])
            there = await store.get(NAMESPACE, [user])
            assert not (done and there)

    @law()
    async def test_cancel_search(self, store: PatternStore) -> None:
        """Protects the store from impatient readers: after cancelled searches it works on."""
        await store.put_many(self._batch(""))
        query = self.make.axis(0)
        for turns in TURNS:
            await cancel_after(turns, lambda: store.search(NAMESPACE, query, 5, EVERYTHING))
            await cancel_after(turns, lambda: store.scan(NAMESPACE, EVERYTHING, None, 5))
        assert len(await store.search(NAMESPACE, query, 5, EVERYTHING)) == 5
        await store.put_many([self.make.pattern("new")])
        assert len(await store.get(NAMESPACE, ["new"])) == 1

    def _batch(self, task: str) -> list[Pattern]:
        return [self.make.pattern(f"p{i:03}", self.make.axis(i), task=task) for i in range(SIZE)]

    async def _tasks(self, store: PatternStore) -> set[str]:
        """The versions that a scan and a search see; both see all patterns."""
        scanned = await store.scan(NAMESPACE, EVERYTHING, None, 1000)
        matches = await store.search(NAMESPACE, self.make.axis(0), 1000, EVERYTHING)
        assert len(scanned) == len(matches) == SIZE
        return {p.task for p in scanned} | {match.pattern.task for match in matches}


async def cancel_after(turns: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Run a call, and cancel it after so many turns of the event loop unless it is done by then.

    Returns whether the call returned: it did its work then, cancelled or not.
    """
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await call()
            finished.set()

        finished = anyio.Event()
        tasks.start_soon(run)
        for _ in range(turns):
            if finished.is_set():
                break
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    return finished.is_set()
