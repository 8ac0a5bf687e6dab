"""Banks for the tests of the engine: real memory banks, with a script for what goes wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np

from lorabank import (
    Adapter,
    BankUnavailableError,
    Clock,
    Consolidation,
    ConsolidationCriteria,
    EmbeddingSpace,
    EngineConfig,
    Feedback,
    LoRAPersonalizationEngine,
    Match,
    Pattern,
    PatternFilter,
    Query,
    QueryConfig,
    Skill,
    StandardBank,
    StoreStats,
    Strategy,
    UpdateReport,
)
from lorabank_memory import MemoryStore

DIM = 6
SPACE = EmbeddingSpace("toy", DIM)
Act = Callable[[], Awaitable[Any]]
PASS = object()


class ScriptedBank:
    """A memory bank that first acts out ``script[method]``; what that returns is the answer.

    `PASS` lets the real bank answer. ``calls`` counts, ``received`` holds every delivery that the
    real bank took, ``started`` is set when a method is called, ``finished`` when it has
    answered.
    """

    def __init__(self, now: Callable[[], float] = lambda: 1e9) -> None:
        self.inner = StandardBank(MemoryStore(), clock=now)
        self.script: dict[str, Act] = {}
        self.calls: Counter[str] = Counter()
        self.started: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
        self.finished: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
        self.received: list[list[Pattern]] = []
        self.tried: list[list[str]] = []
        self.odd_generation: Act | object = PASS

    @property
    def generation(self) -> int:
        if isinstance(self.odd_generation, Exception):
            raise self.odd_generation
        return self.inner.generation if self.odd_generation is PASS else self.odd_generation  # type: ignore[return-value]

    @property
    def space(self) -> EmbeddingSpace | None:
        return self.inner.space

    async def _play(self, name: str, call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        self.calls[name] += 1
        self.started[name].set()
        answer = await self.script[name]() if name in self.script else PASS
        if answer is PASS:
            answer = await call(*arguments)
        self.finished[name].set()
        return answer

    async def bind(self, space: EmbeddingSpace) -> None:
        await self._play("bind", self.inner.bind, space)

    async def store_pattern(self, pattern: Pattern) -> None:
        await self.store_patterns([pattern])

    async def store_patterns(self, patterns: Sequence[Pattern]) -> None:
        self.tried.append([pattern.id for pattern in patterns])
        await self._play("store_patterns", self.inner.store_patterns, patterns)
        self.received.append(list(patterns))

    async def retrieve_patterns(self, query: Query) -> list[Match]:
        answer: list[Match] = await self._play(
            "retrieve_patterns", self.inner.retrieve_patterns, query
        )
        return answer

    async def learn_strategy(self, query: Query) -> Strategy:
        answer: Strategy = await self._play("learn_strategy", self.inner.learn_strategy, query)
        return answer

    async def auto_consolidate(
        self, namespace: str, criteria: ConsolidationCriteria
    ) -> Consolidation:
        call = self.inner.auto_consolidate
        answer: Consolidation = await self._play("auto_consolidate", call, namespace, criteria)
        return answer

    async def skills(self, namespace: str) -> list[Skill]:
        answer: list[Skill] = await self._play("skills", self.inner.skills, namespace)
        return answer

    async def put_skill(self, skill: Skill) -> None:
        await self._play("put_skill", self.inner.put_skill, skill)

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        call = self.inner.delete_skill
        answer: bool = await self._play("delete_skill", call, namespace, skill_id)
        return answer

    async def forget(self, namespace: str, user_key: str) -> int:
        answer: int = await self._play("forget", self.inner.forget, namespace, user_key)
        return answer

    async def stats(self, namespace: str) -> StoreStats:
        answer: StoreStats = await self._play("stats", self.inner.stats, namespace)
        return answer

    async def stored(self) -> list[Pattern]:
        """Every pattern that the bank holds, by id."""
        found: list[Pattern] = await self.inner.store.scan("default", PatternFilter(), None, 10_000)
        return found


def failing(error: BaseException | None = None, times: int | None = None) -> Act:
    """Raises ``error``, the first ``times`` times or always."""
    left = [times]

    async def act() -> object:
        if left[0] is not None:
            if left[0] == 0:
                return PASS
            left[0] -= 1
        raise error if error is not None else BankUnavailableError("down")

    return act


def answering(value: object) -> Act:
    async def act() -> object:
        return value

    return act


def waiting_for(event: anyio.Event) -> Act:
    """Slow until the event."""

    async def act() -> object:
        await event.wait()
        return PASS

    return act


async def hanging() -> object:
    await anyio.sleep_forever()
    raise AssertionError


class FakeTime:
    """Time that moves by `advance` alone; ``sleepers`` are waiting for it."""

    def __init__(self, now: float = 1e9) -> None:
        self.now = now
        self.sleepers: list[tuple[float, anyio.Event]] = []

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, monotonic=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        entry = (self.now + seconds, anyio.Event())
        self.sleepers.append(entry)
        try:
            await entry[1].wait()
        finally:
            self.sleepers.remove(entry)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for until, event in self.sleepers:
            if until <= self.now:
                event.set()


def make_config(**changes: Any) -> EngineConfig:
    """Patient with queries, so that a busy machine changes nothing."""
    options: dict[str, Any] = {"rank": 2, "query": QueryConfig(budget=5.0)} | changes
    return EngineConfig(SPACE, **options)


def make_feedback(rng: np.random.Generator, n: int = 4, dim: int = DIM) -> Feedback:
    """Half of x along the first two axes: something that a rank of 2 can learn."""
    x = rng.standard_normal((n, dim)).astype(np.float32)
    target = x.copy()
    target[:, :2] *= 0.5
    return Feedback(x, target)


async def run_updates(
    engine: LoRAPersonalizationEngine, adapter: Adapter, count: int, seed: int = 0
) -> tuple[Adapter, list[UpdateReport]]:
    rng, reports = np.random.default_rng(seed), []
    for _ in range(count):
        adapter, report = await engine.update_adapter(adapter, make_feedback(rng))
        reports.append(report)
    return adapter, reports


async def settle() -> None:
    """Until nothing can go on by itself.

    Several times, as asyncio's own bookkeeping between the end of one task and the waking of the
    next is not seen by `anyio.wait_all_tasks_blocked`.
    """
    for _ in range(3):
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
