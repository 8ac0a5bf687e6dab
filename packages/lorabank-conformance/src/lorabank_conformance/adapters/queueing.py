"""Laws of the outbox."""

from __future__ import annotations

from lorabank.stores import AdapterStore, QueuedEpisode
from lorabank_conformance.adapters.base import AdapterSuite
from lorabank_conformance.compare import assert_same
from lorabank_conformance.laws import law


def ids(episodes: list[QueuedEpisode]) -> list[str]:
    """Those of the patterns."""
    return [episode.pattern.id for episode in episodes]


class QueueLaws(AdapterSuite):
    """The queue of finished episodes."""

    @law(prepared=False)
    async def test_queue_order(self, store: AdapterStore) -> None:
        """Protects each user's history: episodes come in the order of their commits, and stay."""
        build, revision = self.build, None
        for i in range(5):
            names = (f"z{9 - i}", f"a{i}")
            revision = await store.commit(build.change("ada", i, revision, episodes=names))
        want = [name for i in range(5) for name in (f"z{9 - i}", f"a{i}")]
        assert ids(await store.queued(100)) == want
        assert ids(await store.queued(3)) == want[:3]
        assert await store.queued(0) == []
        found = await store.queued(100)
        assert [e.number for e in found] == sorted({e.number for e in found})
        assert_same([e.pattern for e in found], [build.episode(name) for name in want])

    @law(prepared=False)
    async def test_settle_takes_off(self, store: AdapterStore) -> None:
        """Protects from double delivery: what is settled is gone, the rest stays in order."""
        await store.commit(self.build.change(episodes=("a", "b", "c", "d")))
        found = await store.queued(10)
        assert await store.settle([found[2], found[0]]) == []
        assert ids(await store.queued(10)) == ["b", "d"]
        assert await store.settle([]) == []
        assert ids(await store.queued(10)) == ["b", "d"]

    @law(prepared=False)
    async def test_settle_again(self, store: AdapterStore) -> None:
        """Protects those who share a store: settled by somebody else does not mean forgotten.

        A user whose episode two processes have delivered must not be forgotten in the bank.
        """
        await store.commit(self.build.change(episodes=("a", "b")))
        found = await store.queued(10)
        await store.settle(found[:1])
        await store.settle(found[1:], dead="no")
        assert await store.settle(found) == []
        assert await store.settle(found, dead="no") == []
        counts = await store.counts()
        assert (counts.queued, counts.dead) == (0, 1)

    @law(prepared=False)
    async def test_dead_letters(self, store: AdapterStore) -> None:
        """Protects the queue from what no bank takes: put aside, counted, out of the way."""
        await store.commit(self.build.change(episodes=("a", "b", "c")))
        found = await store.queued(10)
        assert await store.settle(found[:1], dead="it's refused: \u2620") == []
        assert ids(await store.queued(10)) == ["b", "c"]
        counts = await store.counts()
        assert (counts.queued, counts.dead) == (2, 1)

    @law(prepared=False)
    async def test_numbers_never_repeat(self, store: AdapterStore) -> None:
        """Protects a slow delivery: its number never comes to stand for another episode."""
        build, revision, seen = self.build, None, set()
        for i in range(5):
            revision = await store.commit(build.change("ada", i, revision, episodes=("e",)))
            found = await store.queued(10)
            assert [e.number in seen for e in found] == [False]
            seen.add(found[0].number)
            await store.settle(found)

    @law(prepared=False)
    async def test_settle_after_forget(self, store: AdapterStore) -> None:
        """Protects the forgotten: a delivery that crossed the forgetting is reported, once made."""
        build = self.build
        await store.commit(build.change("ada", episodes=("a",), at=10.0))
        await store.commit(build.change("bob", episodes=("b",), at=10.0))
        under_way = await store.queued(10)
        await store.forget("ada", "key of ada", 20.0)
        await store.commit(build.change("ada", episodes=("new",), at=30.0))
        assert await store.settle(under_way) == ["key of ada"]
        fresh = await store.queued(10)
        assert ids(fresh) == ["new"]
        assert await store.settle(fresh) == []
