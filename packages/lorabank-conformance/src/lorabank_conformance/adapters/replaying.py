"""Laws of the experience replay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lorabank.config import ReplayConfig
from lorabank.stores import AdapterStore, Experience
from lorabank.types.feedback import Feedback
from lorabank_conformance.adapters.base import AdapterOpener, AdapterSuite, key_of
from lorabank_conformance.compare import differences
from lorabank_conformance.laws import law


class ReplayLaws(AdapterSuite):
    """The replay stays within its bounds, whatever is committed."""

    @law(prepared=False)
    async def test_replay_round_trip(self, store: AdapterStore) -> None:
        """Protects training: each user's batches, in order, bit by bit, without negatives."""
        rows = self.make.vectors(3, seed=31)
        given = [
            Feedback(rows, rows * np.float32(0.1), reward=[0.1, 1 / 3, 1.0]),
            Feedback(rows[:1], items=[2**40], negatives=rows),
            Feedback(rows[:2], reward=[0.0, 1.0]),
        ]
        revision = None
        for i, feedback in enumerate(given):
            change = self.build.change("ada", i, revision)
            change = replace(change, experience=Experience(key_of("ada"), feedback, 100.0 + i))
            revision = await store.commit(change)
        found = await store.experiences(102.0)
        assert set(found) == {key_of("ada")}
        kept = [given[0], Feedback(rows[:1], items=[2**40]), given[2]]
        for one, other in zip(found[key_of("ada")], kept, strict=True):
            assert not list(differences(one, other))

    @law(reopens=True)
    async def test_replay_per_user(self, opener: AdapterOpener) -> None:
        """Protects against one busy user: the newest rows stay."""
        async with opener(ReplayConfig(max_rows_per_user=5)) as store:
            await self._learn(store, "bob", [2])
            await self._learn(store, "ada", [1, 2, 2, 1])
            assert await self._sizes(store) == {"ada": [2, 2, 1], "bob": [2]}
            await self._learn(store, "cyd", [1, 9])
            assert (await self._sizes(store))["cyd"] == [5]

    @law(reopens=True)
    async def test_replay_bytes(self, opener: AdapterOpener) -> None:
        """Protects the disk: the oldest batches of all users make room."""
        limit = 6 * self.build.row_bytes + 1
        async with opener(ReplayConfig(max_bytes=limit)) as store:
            await self._learn(store, "ada", [2])
            await self._learn(store, "bob", [2, 2])
            await self._learn(store, "cyd", [1])
            assert await self._sizes(store) == {"bob": [2, 2], "cyd": [1]}
            assert (await store.counts()).experience_bytes == 5 * self.build.row_bytes
            await self._learn(store, "dan", [7])
            assert await self._sizes(store) == {}
            assert (await store.counts()).experience_bytes == 0

    @law(reopens=True)
    async def test_replay_age(self, opener: AdapterOpener) -> None:
        """Protects against keeping for ever: old batches are neither read nor, in time, held."""
        async with opener(ReplayConfig(ttl=10.0)) as store:
            for user, at in (("ada", 100.0), ("bob", 105.0)):
                await store.commit(self.build.change(user, seen=1, at=at))
            assert set(await self._sizes(store, 110.0)) == {"ada", "bob"}
            assert set(await self._sizes(store, 110.5)) == {"bob"}
            await store.commit(self.build.change("cyd", seen=1, at=112.0))
            assert (await store.remains("ada", key_of("ada"))).experiences == 0
            assert set(await self._sizes(store, 112.0)) == {"bob", "cyd"}

    @law(reopens=True)
    async def test_replay_off(self, opener: AdapterOpener) -> None:
        """Protects who switched it off: nothing is kept, and what was kept is dropped."""
        async with opener() as store:
            await self._learn(store, "ada", [1])
        async with opener(ReplayConfig(enabled=False)) as store:
            await self._learn(store, "bob", [1])
            assert await store.experiences(0.0) == {}
            assert (await store.counts()).experiences == 0
            assert await store.get("bob") is not None

    async def _learn(self, store: AdapterStore, user: str, sizes: list[int]) -> None:
        revision = None
        for version, seen in enumerate(sizes):
            change = self.build.change(user, version, revision, seen=seen, at=100.0)
            revision = await store.commit(change)

    async def _sizes(self, store: AdapterStore, now: float = 100.0) -> dict[str, list[int]]:
        found = await store.experiences(now)
        return {
            key.removeprefix("key of "): [len(batch) for batch in batches]
            for key, batches in found.items()
        }
