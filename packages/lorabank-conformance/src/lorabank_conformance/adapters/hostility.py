"""Laws of hostile texts."""

from __future__ import annotations

import pytest

from lorabank.errors import InvalidInputError
from lorabank.stores import AdapterStore, ForgetCounts
from lorabank_conformance.adapters.base import AdapterSuite, key_of
from lorabank_conformance.hostile import HOSTILE
from lorabank_conformance.laws import law


class HostilityLaws(AdapterSuite):
    """User ids are any text."""

    @law(prepared=False)
    async def test_hostile_user_ids(self, store: AdapterStore) -> None:
        """Protects users from each other's names: quotes, wildcards, case, unicode, 10 kB."""
        revisions = {}
        for i, user in enumerate(HOSTILE):
            change = self.build.change(user, i, episodes=(f"e{i}",), seen=1)
            revisions[user] = await store.commit(change)
        assert await store.scan(None, 1000) == sorted(HOSTILE)
        for i, user in enumerate(HOSTILE):
            found = await store.get(user)
            assert found is not None
            assert (found.adapter.user_id, found.adapter.version) == (user, i)
            assert found.revision == revisions[user]

    @law(prepared=False)
    async def test_hostile_strangers(self, store: AdapterStore) -> None:
        """Protects new users from being taken for somebody with a similar name."""
        for user in HOSTILE:
            await store.commit(self.build.change(user))
            found = [other for other in HOSTILE if await store.get(other) is not None]
            assert found == [user]
            await store.delete(user)
            assert await store.scan(None, 1000) == []

    @law(prepared=False)
    async def test_hostile_forget(self, store: AdapterStore) -> None:
        """Protects everybody else when a user with a strange name is forgotten."""
        for user in HOSTILE:
            await store.commit(self.build.change(user, episodes=("e",), seen=1))
        left = list(HOSTILE)
        for user in HOSTILE[::3]:
            assert await store.forget(user, key_of(user), 2e9) == ForgetCounts(1, 1, 1)
            left.remove(user)
            assert await store.scan(None, 1000) == sorted(left)
        assert {e.pattern.user_key for e in await store.queued(1000)} == set(map(key_of, left))

    @law(prepared=False)
    async def test_impossible_user_ids(self, store: AdapterStore) -> None:
        """Protects the store from what is no text: refused, and it works on."""
        for user in ("", "\ud800"):
            for call in (store.get, store.delete):
                with pytest.raises(InvalidInputError):
                    await call(user)
            with pytest.raises(InvalidInputError):
                await store.forget(user, "key", 1.0)
            with pytest.raises(InvalidInputError):
                await store.remains(user, "key")
        await store.commit(self.build.change("ada"))
        assert await store.scan(None, 10) == ["ada"]
