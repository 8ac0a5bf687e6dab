"""Laws of scanning."""

from __future__ import annotations

import pytest

from lorabank.errors import InvalidInputError
from lorabank.stores import AdapterStore
from lorabank_conformance.adapters.base import AdapterSuite
from lorabank_conformance.laws import law


class ScanLaws(AdapterSuite):
    """Pages of user ids."""

    @law(prepared=False)
    async def test_scan_pages(self, store: AdapterStore) -> None:
        """Protects a walk over all users: each once, ascending, whatever the size of the page."""
        users = sorted(f"user{i:02}" for i in range(23))
        for user in reversed(users):
            await store.commit(self.build.change(user))
        for limit in (1, 7, 23, 24, 10**30):
            found: list[str] = []
            while page := await store.scan(found[-1] if found else None, limit):
                assert len(page) <= limit
                assert not found or page[0] > found[-1]
                found += page
            assert found == users
        assert await store.scan(None, 0) == []
        assert await store.scan("user21\x00", 5) == ["user22"]
        assert await store.scan("", 1) == users[:1]

    @law(prepared=False)
    async def test_bad_limit(self, store: AdapterStore) -> None:
        """Protects against a wrong answer to a wrong question: a negative limit is refused."""
        for call in (lambda: store.scan(None, -1), lambda: store.queued(-1)):
            with pytest.raises(InvalidInputError):
                await call()
