"""Laws of durable and shared stores."""

from __future__ import annotations

import anyio
import pytest

from lorabank.errors import VersionConflictError
from lorabank.stores import AdapterStore
from lorabank_conformance.adapters.base import AdapterOpener, AdapterSuite, key_of
from lorabank_conformance.adapters.processes import count_up, version
from lorabank_conformance.adapters.queueing import ids
from lorabank_conformance.compare import differences
from lorabank_conformance.laws import law


class DurabilityLaws(AdapterSuite):
    """Opening again, and opening twice."""

    @law(reopens=True)
    async def test_reopen_keeps_all(self, opener: AdapterOpener) -> None:
        """Protects what was acknowledged, tombstones of the forgotten included."""
        self.require("durable")
        build = self.build
        async with opener() as store:
            await store.commit(build.change("ada", 7, episodes=("a", "b", "c"), seen=2))
            await store.settle((await store.queued(1)), dead="refused")
            await store.forget("bob", key_of("bob"), 100.0)
            before = await store.counts()
            stored = await store.get("ada")
        async with opener() as store:
            assert await store.counts() == before
            assert not list(differences(await store.get("ada"), stored))
            assert ids(await store.queued(10)) == ["b", "c"]
            assert len((await store.experiences(0.0))[key_of("ada")]) == 1
            await store.commit(build.change("bob", episodes=("late",), at=99.0))
            assert ids(await store.queued(10)) == ["b", "c"]

    @law(reopens=True)
    async def test_close_writes_what_it_took(self, opener: AdapterOpener) -> None:
        """Protects the last commits: acknowledged ones are there, failed ones are not."""
        self.require("durable")
        done: list[str] = []

        async def commit(store: AdapterStore, user: str) -> None:
            await store.commit(self.build.change(user))
            done.append(user)

        async with opener() as store, anyio.create_task_group() as tasks:
            for i in range(30):
                tasks.start_soon(commit, store, f"user{i:02}")
        async with opener() as store:
            assert await store.scan(None, 100) == sorted(done) == [f"user{i:02}" for i in range(30)]

    @law(reopens=True)
    async def test_shared_sees_commits(self, opener: AdapterOpener) -> None:
        """Protects processes that share a store: each reads what the other committed."""
        self.require("shared")
        build = self.build
        async with opener() as one, opener() as other:
            revision = await one.commit(build.change("ada", 1, episodes=("e",), seen=1))
            found = await other.get("ada")
            assert found is not None
            assert found.revision == revision
            await other.commit(build.change("ada", 2, revision))
            with pytest.raises(VersionConflictError):
                await one.commit(build.change("ada", 2, revision, episodes=("phantom",)))
            assert ids(await other.queued(10)) == ["e"]
            await other.forget("ada", key_of("ada"), 2e9)
            assert (await one.remains("ada", key_of("ada"))).total == 0

    @law(reopens=True)
    async def test_shared_writers(self, opener: AdapterOpener) -> None:
        """Protects updates: whoever loses the race reads again, and every update counts."""
        self.require("shared")

        async with opener() as one, opener() as other:
            async with anyio.create_task_group() as tasks:
                for store in (one, other) * 3:
                    tasks.start_soon(count_up, store, self.make, "ada", 10)
            assert await version(one, self.make, "ada") == 60
