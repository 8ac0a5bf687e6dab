"""The adapter store in memory: private to each open, gone when it is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from lorabank.adapter import Adapter
from lorabank.config import ReplayConfig
from lorabank.errors import StoreClosedError, VersionConflictError
from lorabank.replay import ExperienceReplay
from lorabank.stores.base import Change, ForgetCounts, QueuedEpisode, StoreCounts
from lorabank.types.checks import check_count
from lorabank.types.feedback import Feedback
from lorabank.types.pattern import Pattern


class MemoryAdapterStore:
    """An `AdapterStore` of dictionaries. Belongs to one event loop; nothing here awaits."""

    def __init__(self, replay: ReplayConfig | None = None) -> None:
        self._adapters: dict[str, Adapter] = {}
        self._keys: dict[str, str] = {}
        self._queue: dict[int, Pattern] = {}
        self._dead: dict[int, tuple[Pattern, str]] = {}
        self._replay = ExperienceReplay(replay or ReplayConfig())
        self._forgotten: dict[str, float] = {}
        # User keys of the episodes that were handed out, in case their rows vanish.
        self._handed_out: dict[int, str] = {}
        self._next = 0
        self._now = 0.0
        self._closed = False

    async def get(self, user_id: str) -> Adapter | None:
        """See `AdapterStore.get`."""
        self._require_open()
        return self._adapters.get(user_id)

    async def commit(self, change: Change) -> None:
        """See `AdapterStore.commit`."""
        self._require_open()
        user_id = change.adapter.user_id
        stored = self._adapters.get(user_id)
        version = None if stored is None else stored.version
        if version != change.expected:
            raise VersionConflictError(conflict(user_id, version, change.expected))
        self._adapters[user_id] = change.adapter
        self._keys[user_id] = change.user_key
        since = self._forgotten.get(change.user_key, 0.0)
        for pattern in change.episodes:
            if pattern.created_at >= since:
                self._queue[self._next] = pattern
                self._next += 1
        if change.experience is not None:
            experience = change.experience
            self._replay.add(experience.user_key, experience.feedback, experience.created_at)
            self._now = experience.created_at

    async def delete(self, user_id: str) -> bool:
        """See `AdapterStore.delete`."""
        self._require_open()
        self._keys.pop(user_id, None)
        return self._adapters.pop(user_id, None) is not None

    async def scan(self, after: str | None, limit: int) -> list[str]:
        """See `AdapterStore.scan`."""
        self._require_open()
        check_count(limit, "limit")
        ids = sorted(u for u in self._adapters if after is None or u > after)
        return ids[:limit]

    async def queued(self, limit: int) -> list[QueuedEpisode]:
        """See `AdapterStore.queued`."""
        self._require_open()
        check_count(limit, "limit")
        found = list(islice(self._queue.items(), limit))
        self._handed_out.update((number, pattern.user_key) for number, pattern in found)
        return [QueuedEpisode(number, pattern) for number, pattern in found]

    async def settle(self, numbers: Sequence[int], dead: str | None = None) -> list[str]:
        """See `AdapterStore.settle`."""
        self._require_open()
        gone = set()
        for number in numbers:
            pattern = self._queue.pop(number, None)
            user_key = self._handed_out.pop(number, None)
            if pattern is None and user_key is not None:
                gone.add(user_key)
            elif pattern is not None and dead is not None:
                self._dead[number] = (pattern, dead)
        return sorted(gone)

    async def experiences(self) -> Mapping[str, Sequence[Feedback]]:
        """See `AdapterStore.experiences`."""
        self._require_open()
        return self._replay.snapshot(self._now)

    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        """See `AdapterStore.forget`."""
        found = await self.remains(user_id, user_key)
        self._adapters.pop(user_id, None)
        self._keys.pop(user_id, None)
        self._queue = {n: p for n, p in self._queue.items() if p.user_key != user_key}
        self._dead = {n: d for n, d in self._dead.items() if d[0].user_key != user_key}
        self._replay.forget(user_key)
        self._forgotten[user_key] = now
        return found

    async def remains(self, user_id: str, user_key: str) -> ForgetCounts:
        """See `AdapterStore.remains`."""
        self._require_open()
        episodes = [*self._queue.values(), *(pattern for pattern, _ in self._dead.values())]
        return ForgetCounts(
            adapters=int(user_id in self._adapters),
            episodes=sum(p.user_key == user_key for p in episodes),
            experiences=self._replay.batches(user_key),
        )

    async def counts(self) -> StoreCounts:
        """See `AdapterStore.counts`."""
        self._require_open()
        return StoreCounts(
            adapters=len(self._adapters),
            queued=len(self._queue),
            dead=len(self._dead),
            experiences=self._replay.batches(),
            experience_bytes=self._replay.size,
        )

    async def aclose(self) -> None:
        """See `AdapterStore.aclose`."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the adapter store is closed")


def conflict(user_id: str, stored: int | None, expected: int | None) -> str:
    """The message of a `VersionConflictError`."""
    return f"adapter of {user_id!r}: stored version {stored}, expected {expected}: read it again"
