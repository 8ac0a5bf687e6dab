"""Laws of capabilities: declared equals implemented."""

from __future__ import annotations

import pytest

from lorabank.errors import CapabilityError
from lorabank.protocols import Capability, PatternStore
from lorabank.types.query import EVERYTHING
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class CapabilityLaws(Suite):
    """Capabilities."""

    @law(prepared=False)
    async def test_is_a_store(self, store: PatternStore) -> None:
        """Protects callers that check: the object has every method, and capabilities are a set."""
        assert isinstance(store, PatternStore)
        assert isinstance(store.capabilities, frozenset)
        assert all(isinstance(capability, Capability) for capability in store.capabilities)

    @law()
    async def test_delete_as_declared(self, store: PatternStore) -> None:
        """Protects `forget`: a store that can't delete says so, and one that says it can, does."""
        await store.put_many([self.make.pattern("a")])
        if Capability.DELETE in store.capabilities:
            assert await store.delete(NAMESPACE, EVERYTHING) == 1
            assert await store.get(NAMESPACE, ["a"]) == []
            return
        with pytest.raises(CapabilityError):
            await store.delete(NAMESPACE, EVERYTHING)
        assert len(await store.get(NAMESPACE, ["a"])) == 1

    @law()
    async def test_delete_skill_as_declared(self, store: PatternStore) -> None:
        """Protects `forget` likewise, for skills."""
        await store.put_skill(self.make.skill("s"))
        if Capability.DELETE_SKILL in store.capabilities:
            assert await store.delete_skill(NAMESPACE, "s") is True
            assert await store.list_skills(NAMESPACE) == []
            return
        with pytest.raises(CapabilityError):
            await store.delete_skill(NAMESPACE, "s")
        assert len(await store.list_skills(NAMESPACE)) == 1

    @law(reopens=True)
    async def test_durable_as_declared(self, opener: Opener) -> None:
        """Protects operators: what was written is there after opening again just if it says so."""
        async with self.opened(opener) as store:
            durable = Capability.DURABLE in store.capabilities
            await store.put_many([self.make.pattern("a")])
            await store.put_skill(self.make.skill("s"))
        async with self.opened(opener) as store:
            stats = await store.stats(NAMESPACE)
            found = len(await store.get(NAMESPACE, ["a"]))
        expected = (1, 1, 1) if durable else (0, 0, 0)
        assert (found, stats.patterns, stats.skills) == expected
