"""Laws of records: everything comes back as it was."""

from __future__ import annotations

from dataclasses import replace

from lorabank.stores import AdapterStore
from lorabank_conformance.adapters.base import AdapterSuite
from lorabank_conformance.compare import assert_same, differences
from lorabank_conformance.laws import law


class RecordLaws(AdapterSuite):
    """Round trips."""

    @law(prepared=False)
    async def test_adapter_round_trip(self, store: AdapterStore) -> None:
        """Protects what was learned: every bit of it, anchor, episode and trial included."""
        adapter = self.build.full_adapter("ada")
        await store.commit(replace(self.build.change(), adapter=adapter))
        found = await store.get("ada")
        assert found is not None
        assert not list(differences(found.adapter, adapter))

    @law(prepared=False)
    async def test_episode_round_trip(self, store: AdapterStore) -> None:
        """Protects the bank: an episode is delivered as it was committed."""
        episodes = (self.make.full_pattern("full"), self.make.pattern("plain"))
        await store.commit(replace(self.build.change(), episodes=episodes))
        assert_same([e.pattern for e in await store.queued(10)], episodes)
