"""Laws of stores that processes share."""

from __future__ import annotations

import anyio

from lorabank.protocols import Capability, PatternStore, Refusal
from lorabank.types.query import EVERYTHING
from lorabank_conformance.elsewhere import elsewhere
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE, NOW, Samples
from lorabank_conformance.suite import Suite

MOST = 10_000


async def put(store: PatternStore, make: Samples, names: list[str]) -> None:
    """Store patterns of these ids, each with a call of its own, all at once."""
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(store.put_many, [make.pattern(name)])


async def see(store: PatternStore, make: Samples) -> dict[str, list[str]]:
    """The ids of all patterns, as a scan and as a search finds them."""
    scanned = await store.scan(NAMESPACE, EVERYTHING, None, MOST)
    matches = await store.search(NAMESPACE, make.axis(0), MOST, EVERYTHING)
    return {
        "scan": [pattern.id for pattern in scanned],
        "search": sorted(match.pattern.id for match in matches),
    }


async def refuse(store: PatternStore, _: Samples, user: str) -> None:
    """Leave out what this user does up to `NOW`, as samples are made."""
    assert isinstance(store, Refusal)
    await store.refuse(NAMESPACE, user, NOW)


class ProcessLaws(Suite):
    """Two processes; they take the suite's ``address``."""

    @law(Capability.DURABLE, reopens=True)
    async def test_killed_writer(self, opener: Opener) -> None:
        """Protects what was acknowledged: it is there though its process was killed, not closed.

        And the place can be opened again.
        """
        names = [f"p{i}" for i in range(5)]
        async with elsewhere(self.address, self.space) as other:
            await other.ask("put", names)
            await other.kill()
        async with self.opened(opener) as store:
            assert await see(store, self.make) == {"scan": names, "search": names}

    @law(Capability.SHARED, reopens=True)
    async def test_processes_share(self, opener: Opener) -> None:
        """Protects services of many processes: both write at once, and each finds everything."""
        here, there = ([f"{who}{i:02}" for i in range(20)] for who in ("here", "there"))
        both = sorted([*here, *there])
        async with self.opened(opener) as store, elsewhere(self.address, self.space) as other:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(put, store, self.make, here)
                tasks.start_soon(other.ask, "put", there)
            assert await see(store, self.make) == {"scan": both, "search": both}
            assert await other.ask("see") == {"scan": both, "search": both}
            if Capability.DELETE in store.capabilities:
                await store.delete(NAMESPACE, EVERYTHING)
                assert await other.ask("see") == {"scan": [], "search": []}

    @law(Capability.SHARED, Capability.DURABLE, reopens=True)
    async def test_killed_process(self, opener: Opener) -> None:
        """Protects the others from one that is killed: its writes stay, and it blocks nobody."""
        async with self.opened(opener) as store, elsewhere(self.address, self.space) as other:
            await other.ask("put", ["a"])
            await other.kill()
            await put(store, self.make, ["b"])
            assert await see(store, self.make) == {"scan": ["a", "b"], "search": ["a", "b"]}

    @law(Capability.REFUSE, Capability.DURABLE, reopens=True)
    async def test_killed_refuser(self, opener: Opener) -> None:
        """Protects the forgotten: what was refused is, though the process was killed that did."""
        async with elsewhere(self.address, self.space) as other:
            await other.ask("refuse", "user")
            await other.kill()
        async with self.opened(opener) as store:
            await put(store, self.make, ["late"])
            assert await see(store, self.make) == {"scan": [], "search": []}

    @law(Capability.REFUSE, Capability.SHARED, reopens=True)
    async def test_processes_refuse(self, opener: Opener) -> None:
        """Protects the forgotten from another process, which was stopped when they went, say."""
        async with self.opened(opener) as store, elsewhere(self.address, self.space) as other:
            await other.ask("put", ["a"])
            await refuse(store, self.make, "user")
            await other.ask("put", ["late"])
            assert await see(store, self.make) == {"scan": ["a"], "search": ["a"]}
