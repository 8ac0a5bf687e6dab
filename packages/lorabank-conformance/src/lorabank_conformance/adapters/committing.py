"""Laws of commit, get and delete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lorabank.errors import VersionConflictError
from lorabank.stores import AdapterStore
from lorabank_conformance.adapters.base import AdapterSuite
from lorabank_conformance.compare import differences
from lorabank_conformance.laws import law


class CommitLaws(AdapterSuite):
    """Committing."""

    @law(prepared=False)
    async def test_get_unknown(self, store: AdapterStore) -> None:
        """Protects new users: nobody's adapter is None, not an error and not somebody else's."""
        await store.commit(self.build.change("ada"))
        assert await store.get("bob") is None

    @law(prepared=False)
    async def test_commit_then_get(self, store: AdapterStore) -> None:
        """Protects the acknowledgement: what was committed is read, with the revision given."""
        revision = await store.commit(self.build.change("ada", 1))
        for version in range(2, 6):
            found = await store.get("ada")
            assert found is not None
            assert (found.revision, found.adapter.version) == (revision, version - 1)
            revision = await store.commit(self.build.change("ada", version, revision))
        await store.commit(self.build.change("bob", 9))
        found = await store.get("ada")
        assert found is not None
        assert (found.revision, found.adapter.version) == (revision, 5)
        assert not list(differences(found.adapter, self.build.adapter("ada", 5)))

    @law(prepared=False)
    async def test_conflict_changes_nothing(self, store: AdapterStore) -> None:
        """Protects against phantoms: a refused change leaves no adapter, episode or experience."""
        build = self.build
        first = await store.commit(build.change("ada", 1))
        second = await store.commit(build.change("ada", 2, first))
        before = await store.counts()
        for expected in (None, first, second + 1, -1):
            with pytest.raises(VersionConflictError):
                await store.commit(build.change("ada", 7, expected, episodes=("e",), seen=2))
        with pytest.raises(VersionConflictError):
            await store.commit(build.change("bob", 1, second, episodes=("e",), seen=2))
        assert await store.counts() == before
        assert await store.queued(10) == []
        assert await store.experiences(0.0) == {}
        assert await store.get("bob") is None
        found = await store.get("ada")
        assert found is not None
        assert (found.revision, found.adapter.version) == (second, 2)

    @law(prepared=False)
    async def test_revisions_never_repeat(self, store: AdapterStore) -> None:
        """Protects whoever comes back after being forgotten: an old adapter never fits again.

        A process that kept the adapter from before must not get it in, however often the user
        has learned since.
        """
        build, seen = self.build, set()
        for clear in ("delete", "forget", "delete", "none"):
            expected = None
            for version in range(3):
                expected = await store.commit(build.change("ada", version, expected))
                assert expected not in seen
                seen.add(expected)
            if clear == "delete":
                await store.delete("ada")
            elif clear == "forget":
                await store.forget("ada", "key of ada", 1.0)
        for old in sorted(seen - {expected}):
            with pytest.raises(VersionConflictError):
                await store.commit(build.change("ada", 99, old))

    @law(prepared=False)
    async def test_delete_adapter_alone(self, store: AdapterStore) -> None:
        """Protects a reset: the adapter is gone, its user's episodes and replay are not."""
        build = self.build
        revision = await store.commit(build.change("ada", 1, episodes=("e",), seen=1))
        assert await store.delete("ada") is True
        assert await store.delete("ada") is False
        assert await store.get("ada") is None
        counts = await store.counts()
        assert (counts.adapters, counts.queued, counts.experiences) == (0, 1, 1)
        with pytest.raises(VersionConflictError):
            await store.commit(build.change("ada", 2, revision))
        await store.commit(build.change("ada", 1))

    @law(prepared=False)
    async def test_commit_counts(self, store: AdapterStore) -> None:
        """Protects dashboards: `counts` says how much is there."""
        build = self.build
        revision = await store.commit(build.change("ada", 1, episodes=("a", "b"), seen=3))
        await store.commit(replace(build.change("ada", 2, revision), episodes=()))
        await store.commit(build.change("bob", 1, episodes=("c",), seen=1))
        await store.settle(await store.queued(1), dead="refused")
        counts = await store.counts()
        assert (counts.adapters, counts.queued, counts.dead) == (2, 2, 1)
        assert (counts.experiences, counts.experience_bytes) == (2, 4 * build.row_bytes)
