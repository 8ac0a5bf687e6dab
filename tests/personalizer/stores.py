"""A store with a script for what goes wrong, and what several tests do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import numpy as np
from tests.engine.banks import PASS, ScriptedBank, make_feedback

from lorabank import Feedback, UpdateReport, user_key
from lorabank.personalizer import Personalizer
from lorabank.stores import (
    AdapterStore,
    Change,
    Duty,
    DutyKind,
    ForgetCounts,
    MemoryAdapterStore,
    PopulationRecord,
    PopulationState,
    QueuedEpisode,
    StoreCounts,
    Stored,
    StoredPopulation,
)

Act = Callable[[], Awaitable[Any]]


class ScriptedStore:
    """A store that first acts out ``script[method]``, and afterwards ``then[method]``."""

    def __init__(self, inner: AdapterStore | None = None) -> None:
        self.inner = inner or MemoryAdapterStore()
        self.script: dict[str, Act] = {}
        self.then: dict[str, Act] = {}
        self.calls: Counter[str] = Counter()
        self.started: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
        self.committed: list[tuple[str, int]] = []

    async def _play(self, name: str, *arguments: Any) -> Any:
        self.calls[name] += 1
        self.started[name].set()
        if name in self.script:
            await self.script[name]()
        answer = await getattr(self.inner, name)(*arguments)
        if name in self.then:
            await self.then[name]()
        return answer

    async def get(self, user_id: str) -> Stored | None:
        found: Stored | None = await self._play("get", user_id)
        return found

    async def commit(self, change: Change) -> int:
        revision: int = await self._play("commit", change)
        self.committed.append((change.adapter.user_id, change.adapter.version))
        return revision

    async def delete(self, user_id: str) -> bool:
        return bool(await self._play("delete", user_id))

    async def scan(self, after: str | None, limit: int) -> list[str]:
        found: list[str] = await self._play("scan", after, limit)
        return found

    async def queued(self, limit: int) -> list[QueuedEpisode]:
        found: list[QueuedEpisode] = await self._play("queued", limit)
        return found

    async def settle(self, episodes: Sequence[QueuedEpisode], dead: str | None = None) -> list[str]:
        late: list[str] = await self._play("settle", episodes, dead)
        return late

    async def experiences(self, now: float) -> Mapping[str, Sequence[Feedback]]:
        found: Mapping[str, Sequence[Feedback]] = await self._play("experiences", now)
        return found

    async def put_population(self, namespace: str, population: PopulationRecord) -> PopulationState:
        state: PopulationState = await self._play("put_population", namespace, population)
        return state

    async def population_state(self, namespace: str) -> PopulationState | None:
        state: PopulationState | None = await self._play("population_state", namespace)
        return state

    async def get_population(self, namespace: str) -> StoredPopulation | None:
        found: StoredPopulation | None = await self._play("get_population", namespace)
        return found

    async def delete_population(self, namespace: str) -> bool:
        return bool(await self._play("delete_population", namespace))

    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        counts: ForgetCounts = await self._play("forget", user_id, user_key, now)
        return counts

    async def remains(self, user_id: str, user_key: str) -> ForgetCounts:
        counts: ForgetCounts = await self._play("remains", user_id, user_key)
        return counts

    async def owe(self, kind: DutyKind, key: str) -> None:
        await self._play("owe", kind, key)

    async def duties(self, kind: DutyKind, now: float, key: str | None = None) -> list[Duty]:
        found: list[Duty] = await self._play("duties", kind, now, key)
        return found

    async def discharge(self, duty: Duty) -> None:
        await self._play("discharge", duty)

    async def lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        return bool(await self._play("lease", name, holder, now, seconds))

    async def counts(self) -> StoreCounts:
        counts: StoreCounts = await self._play("counts")
        return counts

    async def aclose(self) -> None:
        await self.inner.aclose()


def key(user_id: str) -> str:
    """As the default secret makes it."""
    return user_key(user_id, b"lorabank")


def batch(seed: int, n: int = 4) -> Feedback:
    """The same for the same seed."""
    return make_feedback(np.random.default_rng(seed), n)


async def learn(p: Personalizer, user: str, count: int, first: int = 0) -> list[UpdateReport]:
    """Some updates, one after the other."""
    return [await p.learn(user, batch(first + i)) for i in range(count)]


async def bank_ids(bank: ScriptedBank, user: str | None = None) -> list[str]:
    """Ids of the patterns in the bank, of one user or all."""
    return [p.id for p in await bank.stored() if user is None or p.user_key == key(user)]


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Let others run until it holds."""
    with anyio.fail_after(seconds):
        while not await condition():
            await anyio.lowlevel.checkpoint()


def once(act: Act) -> Act:
    """Acts the first time only."""
    done: list[bool] = []

    async def play() -> object:
        if done:
            return PASS
        done.append(True)
        return await act()

    return play
