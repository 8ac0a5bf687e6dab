"""Laws of cancellation."""

from __future__ import annotations

from functools import partial

from lorabank.stores import AdapterStore, ForgetCounts
from lorabank_conformance.adapters.base import AdapterSuite, key_of
from lorabank_conformance.laws import law
from lorabank_conformance.stores.cancellation import TURNS, cancel_after


class CancellationLaws(AdapterSuite):
    """Cancellation."""

    @law(prepared=False)
    async def test_cancel_commit(self, store: AdapterStore) -> None:
        """Protects against half a change: adapter, episode and experience are all there or none is.

        All is there if the call returned, and a cancelled commit never happens later, under a newer
        one.
        """
        build = self.build
        for number, turns in enumerate(TURNS):
            user = f"user{number:02}"
            revision = await store.commit(build.change(user, 1))
            change = build.change(user, 2, revision, episodes=(user,), seen=1)
            done = await cancel_after(turns, partial(store.commit, change))
            found = await store.get(user)
            assert found is not None
            happened = found.adapter.version == 2
            assert found.adapter.version in (2, 2 if done else 1)
            assert (found.revision == revision) is not happened
            rest = await store.remains(user, key_of(user))
            assert rest == ForgetCounts(1, int(happened), int(happened))
            await store.commit(build.change(user, 3, found.revision))
            assert await store.remains(user, key_of(user)) == rest

    @law(prepared=False)
    async def test_cancel_forget(self, store: AdapterStore) -> None:
        """Protects likewise: a cancelled forgetting removed everything or nothing."""
        for number, turns in enumerate(TURNS):
            user = f"user{number:02}"
            await store.commit(self.build.change(user, episodes=("e",), seen=1))
            done = await cancel_after(turns, partial(store.forget, user, key_of(user), 1.0))
            whole, nothing = ForgetCounts(1, 1, 1), ForgetCounts(0, 0, 0)
            left = await store.remains(user, key_of(user))
            assert left in (nothing, nothing if done else whole)

    @law(prepared=False)
    async def test_cancel_reads(self, store: AdapterStore) -> None:
        """Protects the store from impatient readers: after cancelled reads it works on."""
        await store.commit(self.build.change(episodes=("e",), seen=1))
        for turns in TURNS:
            await cancel_after(turns, lambda: store.get("ada"))
            await cancel_after(turns, lambda: store.queued(5))
            await cancel_after(turns, lambda: store.experiences(0.0))
        assert len(await store.queued(5)) == 1
        assert await store.get("ada") is not None
