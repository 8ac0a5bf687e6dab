"""The adapter store in memory: private to each open, gone when it is closed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, islice

import anyio.lowlevel

from lorabank.config import ReplayConfig
from lorabank.errors import StoreClosedError, VersionConflictError
from lorabank.replay import ExperienceReplay
from lorabank.stores.base import (
    Change,
    Duty,
    DutyKind,
    ForgetCounts,
    PopulationRecord,
    PopulationState,
    QueuedEpisode,
    StoreCounts,
    Stored,
    StoredPopulation,
)
from lorabank.stores.duties import Duties, Leases
from lorabank.types.checks import check_count, check_text
from lorabank.types.feedback import Feedback
from lorabank.types.pattern import Pattern


class MemoryAdapterStore:
    """An `AdapterStore` of dictionaries. Belongs to one event loop.

    Nothing here awaits, but for reading the whole replay.
    """

    def __init__(self, replay: ReplayConfig | None = None) -> None:
        self._adapters: dict[str, Stored] = {}
        self._queue: dict[int, Pattern] = {}
        self._dead: dict[int, tuple[Pattern, str]] = {}
        self._replay = ExperienceReplay(replay or ReplayConfig())
        self._forgotten: dict[str, float] = {}
        self._duties = Duties()
        self._leases = Leases()
        self._populations: dict[str, StoredPopulation] = {}
        self._population_users: dict[str, frozenset[str]] = {}
        self._revisions = count()
        self._numbers = count()
        self._closed = False

    async def get(self, user_id: str) -> Stored | None:
        """See `AdapterStore.get`."""
        self._require_open()
        check_text(user_id, "user_id")
        return self._adapters.get(user_id)

    async def commit(self, change: Change) -> int:
        """See `AdapterStore.commit`."""
        await anyio.lowlevel.checkpoint()  # a loop of updates waits for nothing else
        self._require_open()
        return self._commit_now(change)

    def _commit_now(self, change: Change) -> int:
        user_id = change.adapter.user_id
        stored = self._adapters.get(user_id)
        revision = None if stored is None else stored.revision
        if revision != change.expected:
            raise VersionConflictError(conflict(user_id))
        new = Stored(change.adapter, next(self._revisions))
        self._adapters[user_id] = new
        for pattern in change.episodes:
            if not self._is_late(pattern):
                self._queue[next(self._numbers)] = pattern
        if change.experience is not None:
            experience = change.experience
            self._replay.add(experience.user_key, experience.feedback, experience.created_at)
        return new.revision

    async def delete(self, user_id: str) -> bool:
        """See `AdapterStore.delete`."""
        self._require_open()
        check_text(user_id, "user_id")
        return self._adapters.pop(user_id, None) is not None

    async def scan(self, after: str | None, limit: int) -> list[str]:
        """See `AdapterStore.scan`."""
        self._require_open()
        check_page(after, limit)
        ids = sorted(u for u in self._adapters if after is None or u > after)
        return ids[:limit]

    async def queued(self, limit: int) -> list[QueuedEpisode]:
        """See `AdapterStore.queued`."""
        self._require_open()
        check_count(limit, "limit")
        return [QueuedEpisode(*item) for item in islice(self._queue.items(), limit)]

    async def settle(self, episodes: Sequence[QueuedEpisode], dead: str | None = None) -> list[str]:
        """See `AdapterStore.settle`."""
        self._require_open()
        for episode in episodes:
            pattern = self._queue.pop(episode.number, None)
            if pattern is not None and dead is not None:
                self._dead[episode.number] = (pattern, dead)
        late = sorted({e.pattern.user_key for e in episodes if self._is_late(e.pattern)})
        for user_key in late:
            self._duties.owe("forget", user_key)
        return late

    async def experiences(self, now: float) -> Mapping[str, Sequence[Feedback]]:
        """See `AdapterStore.experiences`."""
        self._require_open()
        return await self._replay.snapshot(now)

    async def put_population(self, namespace: str, population: PopulationRecord) -> PopulationState:
        """See `AdapterStore.put_population`."""
        self._require_open()
        check_text(namespace, "namespace")
        since, users = self._forgotten, frozenset(population.user_keys)
        gone = {key for key in users if since.get(key, -math.inf) >= population.created_at}
        state = PopulationState(next(self._revisions), bool(gone))
        self._populations[namespace] = StoredPopulation(bytes(population.body), state)
        self._population_users[namespace] = users - gone
        return state

    async def population_state(self, namespace: str) -> PopulationState | None:
        """See `AdapterStore.population_state`."""
        found = await self.get_population(namespace)
        return None if found is None else found.state

    async def get_population(self, namespace: str) -> StoredPopulation | None:
        """See `AdapterStore.get_population`."""
        self._require_open()
        check_text(namespace, "namespace")
        return self._populations.get(namespace)

    async def delete_population(self, namespace: str) -> bool:
        """See `AdapterStore.delete_population`."""
        self._require_open()
        check_text(namespace, "namespace")
        self._population_users.pop(namespace, None)
        return self._populations.pop(namespace, None) is not None

    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        """See `AdapterStore.forget`."""
        found = await self.remains(user_id, user_key)
        self._adapters.pop(user_id, None)
        self._queue = {n: p for n, p in self._queue.items() if p.user_key != user_key}
        self._dead = {n: d for n, d in self._dead.items() if d[0].user_key != user_key}
        self._replay.forget(user_key)
        self._mark_stale(user_key)
        self._forgotten[user_key] = max(now, self._forgotten.get(user_key, now))
        self._duties.owe("forget", user_key, now)
        return found

    async def remains(self, user_id: str, user_key: str) -> ForgetCounts:
        """See `AdapterStore.remains`."""
        self._require_open()
        check_text(user_id, "user_id")
        episodes = [*self._queue.values(), *(pattern for pattern, _ in self._dead.values())]
        return ForgetCounts(
            adapters=int(user_id in self._adapters),
            episodes=sum(p.user_key == user_key for p in episodes),
            experiences=self._replay.batches(user_key),
            populations=sum(user_key in users for users in self._population_users.values()),
        )

    async def owe(self, kind: DutyKind, key: str) -> None:
        """See `AdapterStore.owe`."""
        self._require_open()
        self._duties.owe(kind, key)

    async def duties(self, kind: DutyKind, now: float, key: str | None = None) -> list[Duty]:
        """See `AdapterStore.duties`."""
        self._require_open()
        return self._duties.due(kind, now, key)

    async def discharge(self, duty: Duty) -> None:
        """See `AdapterStore.discharge`."""
        self._require_open()
        self._duties.discharge(duty)

    async def lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        """See `AdapterStore.lease`."""
        self._require_open()
        return self._leases.take(name, holder, now, seconds)

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

    def _mark_stale(self, user_key: str) -> None:
        for namespace, users in self._population_users.items():
            if user_key in users:
                found = self._populations[namespace]
                state = replace(found.state, stale=True)
                self._populations[namespace] = replace(found, state=state)
                self._population_users[namespace] = users - {user_key}

    def _is_late(self, pattern: Pattern) -> bool:
        """Whether its user was forgotten since it was made."""
        since = self._forgotten.get(pattern.user_key)
        return since is not None and pattern.created_at <= since

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the adapter store is closed")


def conflict(user_id: str) -> str:
    """The message of a `VersionConflictError`."""
    return f"the adapter of {user_id!r} was changed by somebody else: read it again"


def check_page(after: str | None, limit: int) -> None:
    """The arguments of `AdapterStore.scan`."""
    check_count(limit, "limit")
    if after is not None:
        check_text(after, "after", empty=True)
