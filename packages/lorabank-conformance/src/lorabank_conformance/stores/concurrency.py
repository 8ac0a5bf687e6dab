"""Laws of many tasks at once, and of the event loop."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import anyio

from lorabank.protocols import Capability, PatternStore
from lorabank.types.pattern import Match
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_conformance.compare import assert_ordered, assert_same
from lorabank_conformance.heartbeat import Work, assert_never_blocked
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite

WRITERS = 100


class ConcurrencyLaws(Suite):
    """Concurrency.

    Attributes:
        longest_pause: seconds for which a store may keep the event loop to itself, at most.
        load: patterns that it works with meanwhile.
    """

    longest_pause: ClassVar[float] = 0.1
    load: ClassVar[int] = 1500

    @law()
    async def test_concurrent_writers(self, store: PatternStore) -> None:
        """Protects a busy service: 100 writers at once lose nothing, and contest an id in peace."""
        make = self.make
        await store.put_many([make.pattern("a-before")])

        async def write(number: int) -> None:
            own = [make.pattern(f"w{number:02}-{i}", make.axis(number)) for i in range(3)]
            await store.put_many([*own, make.pattern("zz-contested", task=str(number))])

        async with anyio.create_task_group() as tasks:
            for number in range(WRITERS):
                tasks.start_soon(write, number)
        found = await store.scan(NAMESPACE, EVERYTHING, None, 1000)
        ids = [f"w{number:02}-{i}" for number in range(WRITERS) for i in range(3)]
        assert [pattern.id for pattern in found] == ["a-before", *ids, "zz-contested"]
        assert found[-1].task in {str(number) for number in range(WRITERS)}
        matches = await store.search(NAMESPACE, make.axis(0), 1000, EVERYTHING)
        assert len(matches) == (await store.stats(NAMESPACE)).patterns == 3 * WRITERS + 2

    @law()
    async def test_readers_meanwhile(self, store: PatternStore) -> None:
        """Protects readers from writers: every answer meanwhile is whole, ordered and complete."""
        make = self.make
        stable = [make.pattern(f"a{i}", user_key="stable") for i in range(20)]
        await store.put_many(stable)
        answers: list[list[Match]] = []

        async def churn(number: int) -> None:
            guest = f"guest{number}"
            rows = [make.pattern(f"b{number}-{i}", user_key=guest) for i in range(10)]
            await store.put_many(rows)
            if Capability.DELETE in store.capabilities:
                await store.delete(NAMESPACE, PatternFilter(user_key=guest))

        async def read() -> None:
            for _ in range(10):
                where = PatternFilter(user_key="stable")
                answers.append(await store.search(NAMESPACE, make.axis(0), 20, where))
                answers.append(await store.search(NAMESPACE, make.axis(0), 20, EVERYTHING))

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(churn, number)
                tasks.start_soon(read)
        for only, every in zip(answers[::2], answers[1::2], strict=False):
            assert len(only) == len(every) == 20
            assert_ordered(only)
            assert_ordered(every)
        assert_same(await store.get(NAMESPACE, [p.id for p in stable]), stable)

    @law()
    async def test_loop_never_blocked(self, store: PatternStore) -> None:
        """Protects every other request of the service: a store works beside the event loop.

        A task that only ticks must get its turn while the store writes, searches, scans and
        deletes. What other threads and a busy machine do to it is measured too, and allowed for.
        """
        make, rows = self.make, self.make.vectors(self.load, seed=81)
        patterns = [make.pattern(f"p{i:05}", row) for i, row in enumerate(rows)]
        can_delete = Capability.DELETE in store.capabilities

        async def put() -> None:
            for start in range(0, self.load, 500):
                await store.put_many(patterns[start : start + 500])

        async def delete() -> None:
            if can_delete:
                await store.delete(NAMESPACE, EVERYTHING)

        works: dict[str, Work] = {
            "put_many": put,
            "search": partial(store.search, NAMESPACE, rows[0], 10, EVERYTHING),
            "scan": partial(store.scan, NAMESPACE, EVERYTHING, None, self.load),
            "delete": delete,
        }
        await assert_never_blocked(works, self.longest_pause)
