"""Laws of refusing: what a user did before being forgotten is left out, whoever brings it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from lorabank.errors import InvalidInputError
from lorabank.protocols import Capability, PatternStore, Refusal
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_conformance.compare import assert_ranking, assert_same
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE, NOW
from lorabank_conformance.suite import Suite

ADA = "ada"
# Like hers, but not hers.
OTHERS = ("bob", "Ada", "ada ", "ada' OR '1'='1", "%")
LATE = 40


class RefusalLaws(Suite):
    """Refusing."""

    @law(Capability.REFUSE)
    async def test_refused_is_left_out(self, store: PatternStore) -> None:
        """Protects the forgotten from latecomers: a batch is stored without what was before.

        Up to the very moment; what the user does afterwards counts again, and the others in the
        batch are stored.
        """
        await _refuse(store, NOW)
        late = [self._hers("a-before", -1.0), self._hers("b-then", 0.0)]
        rest = [self._hers("c-after", 0.25), self.make.pattern("d-bobs", user_key="bob")]
        await store.put_many([*late, *rest])
        await self._assert_there(store, rest)
        await store.put_many(late)
        await store.put_many(late[:1])
        await self._assert_there(store, rest)

    @law(Capability.REFUSE)
    async def test_refuse_only_hers(self, store: PatternStore) -> None:
        """Protects everyone else: other users, and the user of that name in another namespace."""
        await _refuse(store, NOW)
        others = [self.make.pattern(f"p{i}", user_key=user) for i, user in enumerate(OTHERS)]
        elsewhere = [self._hers("elsewhere", -1.0, namespace="theirs")]
        await store.put_many([*others, self._hers("hers", -1.0), *elsewhere])
        await self._assert_there(store, others)
        assert_same(await store.scan("theirs", EVERYTHING, None, 100), elsewhere)

    @law(Capability.REFUSE)
    async def test_refuse_latest_counts(self, store: PatternStore) -> None:
        """Protects whoever is forgotten again: an earlier time, or the same, lets nothing in."""
        for until in (NOW, NOW - 5, NOW):
            await _refuse(store, until)
            await store.put_many([self._hers("a", -1.0)])
            await self._assert_there(store, [])
        later = [self._hers("b", 1.0), self._hers("c", 3.0)]
        await _refuse(store, NOW + 2)
        await store.put_many(later)
        await self._assert_there(store, later[1:])

    @law(Capability.REFUSE)
    async def test_refuse_keeps_what_is_there(self, store: PatternStore) -> None:
        """Protects against half a replacement: what is there stays as it is until it is deleted."""
        there = [self._hers("a", -1.0, task="there")]
        await store.put_many(there)
        await _refuse(store, NOW)
        await self._assert_there(store, there)
        await store.put_many([self._hers("a", -0.5, context=self.make.axis(1), task="late")])
        await self._assert_there(store, there)
        newer = [self._hers("a", 1.0, context=self.make.axis(2), task="newer")]
        await store.put_many(newer)
        await self._assert_there(store, newer)

    @law(Capability.REFUSE, Capability.DELETE)
    async def test_refuse_crosses_writers(self, store: PatternStore) -> None:
        """Protects the forgotten from writes under way: refused, then deleted, nothing is left.

        Whoever looks beside the write instead of in it is passed just before.
        """
        for turns in (0, 1, 2, 3, 5, 8):
            async with anyio.create_task_group() as tasks:
                for number in range(LATE):
                    batch = [
                        self._hers(f"hers {number}", -1.0),
                        self.make.pattern(f"his {number:02}", user_key="bob"),
                    ]
                    tasks.start_soon(store.put_many, batch)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                await _refuse(store, NOW)
                await store.delete(NAMESPACE, PatternFilter(user_key=ADA))
            found = await store.scan(NAMESPACE, EVERYTHING, None, 1000)
            assert [pattern.id for pattern in found] == [f"his {i:02}" for i in range(LATE)]
            await store.delete(NAMESPACE, EVERYTHING)

    @law(Capability.REFUSE)
    async def test_refuse_nonsense(self, store: PatternStore) -> None:
        """Protects everyone: without a user, a namespace or a time, an InvalidInputError."""
        assert isinstance(store, Refusal)
        for namespace, user, until in (("", ADA, NOW), (NAMESPACE, "", NOW)):
            with pytest.raises(InvalidInputError):
                await store.refuse(namespace, user, until)
        for until in (float("nan"), float("inf")):
            with pytest.raises(InvalidInputError):
                await store.refuse(NAMESPACE, ADA, until)
        there = [self._hers("a", -1.0)]
        await store.put_many(there)
        await self._assert_there(store, there)

    @law(Capability.REFUSE, Capability.DURABLE, reopens=True)
    async def test_refuse_survives_reopen(self, opener: Opener) -> None:
        """Protects the forgotten for good: refused is refused after opening again, too."""
        async with self.opened(opener) as store:
            await _refuse(store, NOW)
        for name in ("a", "b"):
            async with self.opened(opener) as store:
                await store.put_many([self._hers(name, -1.0)])
                await self._assert_there(store, [])

    @law(Capability.REFUSE, Capability.SHARED, reopens=True)
    async def test_refuse_is_shared(self, opener: Opener) -> None:
        """Protects the forgotten from whoever has it open as well: they need not open it again."""
        async with self.opened(opener) as one, self.opened(opener) as other:
            mine = [self.make.pattern("bobs", user_key="bob")]
            await other.put_many(mine)
            await _refuse(one, NOW)
            await other.put_many([self._hers("late", -1.0)])
            for store in (one, other):
                await self._assert_there(store, mine)

    def _hers(self, name: str, after: float, **changes: Any) -> Pattern:
        """A pattern of ada's, made so many seconds after `NOW`."""
        return self.make.pattern(name, user_key=ADA, created_at=NOW + after, **changes)

    async def _assert_there(self, store: PatternStore, patterns: Sequence[Pattern]) -> None:
        """These are there, and nothing else, whichever way one looks."""
        query = self.make.axis(0)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), patterns)
        found = await store.search(NAMESPACE, query, 100, EVERYTHING)
        assert_ranking(found, patterns, query, 100)
        assert (await store.stats(NAMESPACE)).patterns == len(patterns)


async def _refuse(store: PatternStore, until: float) -> None:
    assert isinstance(store, Refusal)
    await store.refuse(NAMESPACE, ADA, until)
