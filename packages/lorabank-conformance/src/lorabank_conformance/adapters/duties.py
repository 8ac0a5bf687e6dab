"""Laws of what is owed to the bank, and of leases."""

from __future__ import annotations

import math

from lorabank.stores import AdapterStore
from lorabank.stores.base import GRACE
from lorabank_conformance.adapters.base import AdapterOpener, AdapterSuite, key_of
from lorabank_conformance.laws import law

HOUR = 3600.0


class DutyLaws(AdapterSuite):
    """Duties and leases."""

    @law(prepared=False)
    async def test_forget_owes(self, store: AdapterStore) -> None:
        """Protects the forgotten: should the caller die now, somebody tells the bank a bit later.

        Not at once, or two would be at it.
        """
        await store.forget("ada", key_of("ada"), 100.0)
        assert await store.duties("forget", 100.0) == []
        (duty,) = await store.duties("forget", 100.0 + GRACE)
        assert (duty.kind, duty.key) == ("forget", key_of("ada"))
        assert await store.duties("forget", math.inf, key_of("ada")) == [duty]
        assert await store.duties("forget", math.inf, key_of("bob")) == []
        assert await store.duties("rebuild", math.inf) == []

    @law(prepared=False)
    async def test_late_delivery_owes(self, store: AdapterStore) -> None:
        """Protects the forgotten from a delivery that crossed: the bank must forget them again."""
        await store.commit(self.build.change("ada", episodes=("a",), at=10.0))
        under_way = await store.queued(10)
        await store.forget("ada", key_of("ada"), 20.0)
        assert await store.settle(under_way) == [key_of("ada")]
        assert [duty.key for duty in await store.duties("forget", 20.0)] == [key_of("ada")]

    @law(prepared=False)
    async def test_duty_order(self, store: AdapterStore) -> None:
        """Protects the oldest debt: it comes first, and each is there once."""
        for key in ("c", "a", "b", "c"):
            await store.owe("rebuild", key)
        assert [duty.key for duty in await store.duties("rebuild", 0.0)] == ["a", "b", "c"]

    @law(prepared=False)
    async def test_discharge(self, store: AdapterStore) -> None:
        """Protects a debt that came anew while the old one was being paid."""
        await store.owe("rebuild", "")
        (old,) = await store.duties("rebuild", 0.0)
        await store.owe("rebuild", "")
        (new,) = await store.duties("rebuild", 0.0)
        await store.discharge(old)
        assert await store.duties("rebuild", 0.0) == [new]
        await store.discharge(new)
        await store.discharge(new)
        assert await store.duties("rebuild", 0.0) == []

    @law(reopens=True)
    async def test_reopen_keeps_duties(self, opener: AdapterOpener) -> None:
        """Protects what is owed from the death of who owes it."""
        self.require("durable")
        async with opener() as store:
            await store.forget("ada", key_of("ada"), 100.0)
            await store.owe("rebuild", "")
            owed = [*await store.duties("forget", HOUR), *await store.duties("rebuild", HOUR)]
        async with opener() as store:
            again = [*await store.duties("forget", HOUR), *await store.duties("rebuild", HOUR)]
            assert len(again) == 2
            assert again == owed

    @law(prepared=False)
    async def test_lease(self, store: AdapterStore) -> None:
        """Protects from N-fold work: one holds a lease, until it runs out or is given back."""
        assert await store.lease("delivery", "one", 100.0, 10.0)
        assert not await store.lease("delivery", "other", 109.9, 10.0)
        assert await store.lease("something else", "other", 100.0, 10.0)
        assert await store.lease("delivery", "one", 109.0, 10.0)
        assert not await store.lease("delivery", "other", 118.9, 10.0)
        assert await store.lease("delivery", "other", 119.0, 10.0)
        assert not await store.lease("delivery", "one", 119.0, 10.0)
        assert not await store.lease("delivery", "one", 119.0, 0.0)
        assert not await store.lease("delivery", "one", 120.0, 10.0)
        await store.lease("delivery", "other", 120.0, 0.0)
        assert await store.lease("delivery", "one", 120.0, 10.0)

    @law(reopens=True)
    async def test_shared_lease(self, opener: AdapterOpener) -> None:
        """Protects processes that share a store: a lease holds for all of them."""
        self.require("shared")
        async with opener() as one, opener() as other:
            assert await one.lease("delivery", "one", 100.0, 10.0)
            assert not await other.lease("delivery", "other", 105.0, 10.0)
            assert await other.lease("delivery", "other", 110.0, 10.0)
            assert not await one.lease("delivery", "one", 111.0, 10.0)
