"""Phase 1: asking the bank, through the cache, once per key however many callers wait.

The query runs in the engine's task group under its own deadline. Callers only wait on an event
under their budget, so a slow bank never holds an update up, and a cancelled caller never takes
the shared query with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import anyio
from anyio.abc import TaskGroup

from lorabank.breaker import CircuitBreaker
from lorabank.cache import TtlCache
from lorabank.clock import Clock
from lorabank.config import QueryConfig
from lorabank.logs import get_logger
from lorabank.outbox import Outbox
from lorabank.protocols import ReasoningBank
from lorabank.types.pattern import Match
from lorabank.types.query import Query
from lorabank.types.strategy import Strategy

CacheState: TypeAlias = Literal["hit", "miss", "timeout", "failed", "degraded", "disconnected"]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Advice:
    """What the bank said (None where that half failed), and how it was come by."""

    cache: CacheState
    patterns: tuple[Match, ...] | None = None
    strategy: Strategy | None = None

    @property
    def size(self) -> int:
        """Bytes it roughly takes in the cache."""
        matches = self.patterns or ()
        return 2048 + sum(1024 + match.pattern.context.nbytes for match in matches)


NO_ADVICE = Advice("disconnected")


@dataclass(slots=True)
class _Flight:
    done: anyio.Event = field(default_factory=anyio.Event)
    advice: Advice = field(default_factory=lambda: Advice("timeout"))


class Inquiry:
    """Asks one bank. Belongs to one event loop; its queries run in ``tasks``."""

    def __init__(
        self,
        bank: ReasoningBank,
        config: QueryConfig,
        breaker: CircuitBreaker,
        outbox: Outbox,
        clock: Clock,
        tasks: TaskGroup,
    ) -> None:
        self._bank = bank
        self._config = config
        self._breaker = breaker
        self._outbox = outbox
        self._tasks = tasks
        self._flights: dict[Hashable, _Flight] = {}
        self.cache: TtlCache[Advice] = TtlCache(
            entries=config.cache_entries,
            size=config.cache_bytes,
            ttl=config.cache_ttl,
            monotonic=clock.monotonic,
        )
        self.hits = self.misses = 0

    async def advise(self, key: Hashable, query: Query) -> Advice:
        """The cached answer, or a new one if it comes within the budget."""
        cached = self.cache.get(key)
        if cached is not None:
            self.hits += 1
            return cached
        self.misses += 1
        flight = self._flights.get(key)
        if flight is None:
            if not self._may_ask():
                return Advice("degraded")
            flight = self._flights[key] = _Flight()
            self._tasks.start_soon(self._fly, key, query, flight)
        with anyio.move_on_after(self._config.budget):
            await flight.done.wait()
        return flight.advice

    def clear(self) -> None:
        """Forget every cached answer."""
        self.cache.clear()

    def _may_ask(self) -> bool:
        """When half-open, the probe is a delivery; only without one waiting is it a query."""
        return self._breaker.closed or (self._breaker.probing and not len(self._outbox))

    async def _fly(self, key: Hashable, query: Query, flight: _Flight) -> None:
        try:
            patterns, strategy = await self._ask_both(query)
            complete = patterns is not None and strategy is not None
            answered = patterns is not None or strategy is not None
            advice = Advice("miss" if answered else "failed", patterns, strategy)
            flight.advice = advice
            if complete:
                self._breaker.success()
                self.cache.put(key, Advice("hit", patterns, strategy), advice.size)
            else:
                self._breaker.failure()
        finally:
            self._flights.pop(key, None)
            flight.done.set()

    async def _ask_both(self, query: Query) -> tuple[tuple[Match, ...] | None, Strategy | None]:
        """Both halves in parallel; each failure is its own."""
        answers: dict[str, object] = {}

        async def ask(name: str, question: Callable[[Query], Awaitable[object]]) -> None:
            try:
                answers[name] = await question(query)
            except Exception as exc:  # noqa: BLE001 - whatever a bank raises, updates go on
                log.warning("bank query failed", half=name, error=repr(exc))

        with anyio.move_on_after(self._config.deadline):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, "patterns", self._bank.retrieve_patterns)
                group.start_soon(ask, "strategy", self._bank.learn_strategy)
        return _as_matches(answers.get("patterns")), _as_strategy(answers.get("strategy"))


def _as_matches(answer: object) -> tuple[Match, ...] | None:
    if isinstance(answer, list | tuple) and all(isinstance(item, Match) for item in answer):
        return tuple(answer)
    return None


def _as_strategy(answer: object) -> Strategy | None:
    return answer if isinstance(answer, Strategy) else None
