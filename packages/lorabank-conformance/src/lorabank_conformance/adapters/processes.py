"""Laws of adapter stores that processes share."""

from __future__ import annotations

import anyio

from lorabank.errors import VersionConflictError
from lorabank.stores import AdapterStore, ForgetCounts
from lorabank_conformance.adapters.base import AdapterOpener, Adapters, AdapterSuite, key_of
from lorabank_conformance.adapters.queueing import ids
from lorabank_conformance.elsewhere import elsewhere
from lorabank_conformance.laws import law
from lorabank_conformance.samples import Samples


async def count_up(store: AdapterStore, make: Samples, user_id: str, times: int) -> None:
    """Commit the user's next version so many times, again wherever another was faster."""
    build = Adapters(make)
    for _ in range(times):
        done = False
        while not done:
            found = await store.get(user_id)
            now = (0, None) if found is None else (found.adapter.version, found.revision)
            try:
                await store.commit(build.change(user_id, now[0] + 1, now[1]))
                done = True
            except VersionConflictError:
                continue


async def version(store: AdapterStore, _: Samples, user_id: str) -> int:
    """Of the user's adapter; 0 without one."""
    found = await store.get(user_id)
    return 0 if found is None else found.adapter.version


async def commit(store: AdapterStore, make: Samples, user_id: str) -> None:
    """A first adapter with an episode and an experience."""
    await store.commit(Adapters(make).change(user_id, episodes=(f"of {user_id}",), seen=2))


class ProcessLaws(AdapterSuite):
    """Two processes; they take the suite's ``address``."""

    @law(reopens=True)
    async def test_killed_writer(self, opener: AdapterOpener) -> None:
        """Protects what was acknowledged: it is there though its process was killed, not closed.

        The adapter, its episode and its experience; and the place can be opened again.
        """
        self.require("durable")
        async with elsewhere(self.address, self.space) as other:
            await other.ask("commit", "ada")
            await other.kill()
        async with opener() as store:
            assert await version(store, self.make, "ada") == 1
            assert ids(await store.queued(10)) == ["of ada"]
            assert await store.remains("ada", key_of("ada")) == ForgetCounts(1, 1, 1)

    @law(reopens=True)
    async def test_processes_share(self, opener: AdapterOpener) -> None:
        """Protects updates from other processes: whoever loses the race reads again."""
        self.require("shared")
        async with opener() as store, elsewhere(self.address, self.space) as other:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(count_up, store, self.make, "ada", 20)
                tasks.start_soon(other.ask, "count_up", "ada", 20)
            assert await version(store, self.make, "ada") == 40
            assert await other.ask("version", "ada") == 40

    @law(reopens=True)
    async def test_killed_process(self, opener: AdapterOpener) -> None:
        """Protects the others from one that is killed: its commits stay, and it blocks nobody."""
        self.require("shared")
        self.require("durable")
        async with opener() as store, elsewhere(self.address, self.space) as other:
            await other.ask("count_up", "ada", 3)
            await other.kill()
            await count_up(store, self.make, "ada", 1)
            assert await version(store, self.make, "ada") == 4
