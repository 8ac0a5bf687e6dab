"""Laws of durable and shared stores."""

from __future__ import annotations

from dataclasses import replace

import anyio
import numpy as np
import pytest

from lorabank.errors import EmbeddingSpaceError
from lorabank.protocols import Capability, PatternStore
from lorabank.types.query import EVERYTHING
from lorabank_conformance.compare import assert_ranking, assert_same
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class DurabilityLaws(Suite):
    """Opening again, and opening twice."""

    @law(Capability.DURABLE, reopens=True)
    async def test_reopen_keeps_all(self, opener: Opener) -> None:
        """Protects what was acknowledged: records, replacements and skills."""
        make = self.make
        rows = make.vectors(30, seed=71)
        first = [make.pattern(f"p{i:02}", row) for i, row in enumerate(rows)]
        second = [make.pattern("p00", make.axis(2), task="replaced"), make.full_pattern("p99")]
        records = [second[0], *first[1:], second[1]]
        async with self.opened(opener) as store:
            await store.put_many(first)
            await store.put_skill(make.full_skill("s"))
        async with self.opened(opener) as store:
            await store.put_many(second)
        async with self.opened(opener) as store:
            assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), records)
            assert_same(await store.list_skills(NAMESPACE), [make.full_skill("s")])
            found = await store.search(NAMESPACE, make.axis(2), 100, EVERYTHING)
            assert_ranking(found, records, make.axis(2), 100)

    @law(Capability.DURABLE, reopens=True)
    async def test_reopen_keeps_answers(self, opener: Opener) -> None:
        """Protects repeatable answers: the same matches in the same order after opening again.

        Equal ones too, in whichever order they were stored.
        """
        make, rng = self.make, np.random.default_rng(72)
        crowd = [make.pattern(f"p{i:02}", row) for i, row in enumerate(make.vectors(20, seed=73))]
        alike = [make.pattern(f"t{i:02}", make.axis(1)) for i in range(20)]
        records = [*crowd, *alike]
        shuffled = [records[i] for i in rng.permutation(len(records))]
        queries = [make.axis(1), *make.vectors(3, seed=74)]

        async def answers(store: PatternStore) -> list[list[str]]:
            found = [await store.search(NAMESPACE, query, 15, EVERYTHING) for query in queries]
            return [[match.pattern.id for match in matches] for matches in found]

        async with self.opened(opener) as store:
            await store.put_many(shuffled[:25])
            await store.put_many(shuffled[25:])
            before = await answers(store)
        async with self.opened(opener) as store:
            assert await answers(store) == before
            found = await store.search(NAMESPACE, make.axis(1), 40, EVERYTHING)
            assert_ranking(found, records, make.axis(1), 40)

    @law(Capability.DURABLE, reopens=True)
    async def test_reopen_keeps_space(self, opener: Opener) -> None:
        """Protects a bank from another application's encoder: the space outlives the process."""
        async with opener() as store:
            await store.bind(self.space)
        async with opener() as store:
            assert store.space == self.space
            with pytest.raises(EmbeddingSpaceError):
                await store.bind(replace(self.space, name="another"))
            await store.bind(self.space)

    @law(Capability.SHARED, reopens=True)
    async def test_shared_sees_writes(self, opener: Opener) -> None:
        """Protects processes that share a bank: each finds what the other wrote or deleted."""
        make = self.make
        async with self.opened(opener) as one, self.opened(opener) as other:
            for writer, reader, name in ((one, other, "a"), (other, one, "b")):
                pattern = make.pattern(name, make.axis(ord(name)))
                await writer.put_many([pattern])
                await writer.put_skill(make.skill(name))
                assert_same(await reader.get(NAMESPACE, [name]), [pattern])
                found = await reader.search(NAMESPACE, pattern.context, 1, EVERYTHING)
                assert [match.pattern.id for match in found] == [name]
                assert name in [skill.id for skill in await reader.list_skills(NAMESPACE)]
            if Capability.DELETE in one.capabilities:
                await one.delete(NAMESPACE, EVERYTHING)
                assert await other.search(NAMESPACE, make.axis(0), 5, EVERYTHING) == []

    @law(Capability.SHARED, reopens=True)
    async def test_shared_writers(self, opener: Opener) -> None:
        """Protects writers from each other's locks: all wait their turn, none fails or loses."""
        async with self.opened(opener) as one, self.opened(opener) as other:
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    for name, store in (("one", one), ("other", other)):
                        tasks.start_soon(self._write, store, f"{name}{number:02}")
            ids = [p.id for p in await one.scan(NAMESPACE, EVERYTHING, None, 1000)]
        assert ids == sorted(f"{name}{i:02}" for name in ("one", "other") for i in range(20))

    async def _write(self, store: PatternStore, pattern_id: str) -> None:
        await store.put_many([self.make.pattern(pattern_id)])
