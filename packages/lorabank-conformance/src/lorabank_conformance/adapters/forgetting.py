"""Laws of forgetting."""

from __future__ import annotations

from dataclasses import replace

from lorabank.stores import AdapterStore, ForgetCounts
from lorabank_conformance.adapters.base import AdapterSuite, key_of
from lorabank_conformance.adapters.queueing import ids
from lorabank_conformance.laws import law

NOTHING = ForgetCounts(0, 0, 0)


class ForgetLaws(AdapterSuite):
    """Forgetting."""

    @law(prepared=False)
    async def test_forget_removes_all(self, store: AdapterStore) -> None:
        """Protects the forgotten: adapter, queue, dead letters and replay go, nobody else's do."""
        build = self.build
        for user in ("ada", "bob"):
            names = (f"{user}1", f"{user}2", f"{user}3")
            first = await store.commit(build.change(user, 1, episodes=names, seen=2))
            await store.commit(build.change(user, 2, first, seen=1))
            found = [e for e in await store.queued(10) if e.pattern.id == f"{user}2"]
            await store.settle(found, dead="refused")
        assert await store.remains("ada", key_of("ada")) == ForgetCounts(1, 3, 2)
        assert await store.forget("ada", key_of("ada"), 2e9) == ForgetCounts(1, 3, 2)
        assert await store.remains("ada", key_of("ada")) == NOTHING
        assert await store.get("ada") is None
        assert ids(await store.queued(10)) == ["bob1", "bob3"]
        assert set(await store.experiences(0.0)) == {key_of("bob")}
        assert await store.scan(None, 10) == ["bob"]
        counts = await store.counts()
        assert (counts.adapters, counts.queued, counts.dead) == (1, 2, 1)
        assert (counts.experiences, counts.experience_bytes) == (2, 3 * build.row_bytes)

    @law(prepared=False)
    async def test_forget_again(self, store: AdapterStore) -> None:
        """Protects a request that is repeated, or about nobody: it finds nothing, without error."""
        await store.commit(self.build.change("ada"))
        assert await store.forget("bob", key_of("bob"), 1.0) == NOTHING
        assert (await store.forget("ada", key_of("ada"), 1.0)).total == 1
        assert await store.forget("ada", key_of("ada"), 2.0) == NOTHING

    @law(prepared=False)
    async def test_late_episode_refused(self, store: AdapterStore) -> None:
        """Protects the forgotten from latecomers: episodes made up to that moment are refused.

        What the user does afterwards counts again; other users are not concerned; and forgetting
        with an earlier clock does not let older episodes in.
        """
        build = self.build
        await store.forget("ada", key_of("ada"), 100.0)
        await store.forget("ada", key_of("ada"), 50.0)
        times = {"before": 99.0, "then": 100.0, "after": 100.5}
        late = tuple(build.episode(name, "ada", at) for name, at in times.items())
        await store.commit(replace(build.change("ada"), episodes=late))
        await store.commit(build.change("bob", episodes=("bob",), at=99.0))
        assert ids(await store.queued(10)) == ["after", "bob"]

    @law(prepared=False)
    async def test_forgotten_user_returns(self, store: AdapterStore) -> None:
        """Protects users who come back: they start anew, and are forgotten anew."""
        build = self.build
        for at in (10.0, 30.0):
            await store.commit(build.change("ada", 1, episodes=("e",), seen=1, at=at))
            assert await store.remains("ada", key_of("ada")) == ForgetCounts(1, 1, 1)
            assert await store.forget("ada", key_of("ada"), at + 1) == ForgetCounts(1, 1, 1)
