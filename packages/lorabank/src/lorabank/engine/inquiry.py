"""Phase 1: asking the bank, through the cache, once per key however many callers wait.

The query runs in the engine's task group under its own deadline. Callers only wait on an event
under their budget, so a slow bank never holds an update up, and a cancelled caller never takes
the shared query with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import anyio
from anyio.abc import TaskGroup

from lorabank.breaker import CircuitBreaker
from lorabank.cache import TtlCache
from lorabank.clock import Clock
from lorabank.codec.records import from_record, to_record
from lorabank.config import QueryConfig
from lorabank.errors import BankRejectedError, CodecError, InvalidInputError
from lorabank.logs import get_logger
from lorabank.outbox import Outbox
from lorabank.protocols import ReasoningBank
from lorabank.types.flat import Flat, flat, from_flat
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import Query
from lorabank.types.strategy import NO_TRIALS, ArmEffect, Strategy, TrialSummary
from lorabank.waiting import patience, undisturbed, within

if TYPE_CHECKING:
    from lorabank.adaptation.step import Decision
    from lorabank.engine.report import HintUse

CacheState: TypeAlias = Literal["hit", "miss", "timeout", "failed", "degraded", "disconnected"]

log = get_logger(__name__)


@dataclass(slots=True)
class Advice:
    """What the bank said to one user (None where that half failed), and how it was come by.

    ``decision`` and ``use`` are what was made of it, once somebody has.
    """

    cache: CacheState
    patterns: tuple[Match, ...] | None = None
    strategy: Strategy | None = None
    decision: Decision | None = None
    use: HintUse | None = None

    @property
    def size(self) -> int:
        """Bytes it roughly takes in the cache."""
        size = 2048 + _bytes_of(self.patterns or ())
        if self.strategy is not None:
            size += _bytes_of(self.strategy.patterns) + 256 * len(self.strategy.effects)
            size += 4 * len(self.strategy.recommendation)
        return size

    @property
    def hints(self) -> Any:
        """What the strategy suggests; a foreign bank's may be anything. None without a strategy."""
        return None if self.strategy is None else self.strategy.hints


def kept(patterns: tuple[Match, ...], strategy: Strategy) -> KeptAdvice:
    """A complete answer as it is cached."""
    same = len(patterns) == len(strategy.patterns) and all(map(is_, patterns, strategy.patterns))
    others = None if same else flat(patterns)
    return KeptAdvice(flat(strategy.hints), flat(strategy), others)


@dataclass(slots=True)
class KeptAdvice:
    """A complete answer in the cache, as few objects as it can be: see `lorabank.types.flat`.

    ``flat_patterns`` None are those of the strategy. ``decision`` and ``use`` are as in `Advice`.
    """

    flat_hints: Flat
    flat_strategy: Flat
    flat_patterns: Flat | None
    decision: Decision | None = None
    use: HintUse | None = None

    @property
    def cache(self) -> CacheState:
        """How it is come by."""
        return "hit"

    @property
    def hints(self) -> Any:
        """See `Advice`."""
        return from_flat(self.flat_hints)


def _bytes_of(matches: Sequence[Match]) -> int:
    return sum(1024 + match.pattern.context.nbytes for match in matches)


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
        self.cache: TtlCache[KeptAdvice] = TtlCache(
            entries=config.cache_entries,
            size=config.cache_bytes,
            ttl=config.cache_ttl,
            monotonic=clock.monotonic,
        )
        self.hits = self.misses = 0
        self._closed = False

    def cached(self, key: Hashable) -> KeptAdvice | None:
        """The cached answer, if there is one."""
        cached = self.cache.get(key)
        if cached is not None:
            self.hits += 1
        return cached

    async def advise(self, key: Hashable, query: Query) -> Advice:
        """A new answer, if it comes within the budget. Look for a `cached` one before."""
        if self._closed:  # an update was slower than the bank's disconnecting
            return Advice("disconnected")
        self.misses += 1
        flight = self._flights.get(key)
        if flight is None:
            if not self._may_ask():
                return Advice("degraded")
            flight = self._flights[key] = _Flight()
            self._tasks.start_soon(self._fly, key, query, flight)
        with anyio.move_on_after(patience(self._config.budget)):
            await flight.done.wait()
        return flight.advice

    def clear(self) -> None:
        """Forget every cached answer; one that is under way will not be cached."""
        self.cache.clear()
        self._flights.clear()

    def close(self) -> None:
        """Ask no more; forget every cached answer."""
        self._closed = True
        self.clear()

    def _may_ask(self) -> bool:
        """When half-open, the probe is a delivery; only without one waiting is it one query."""
        idle = not len(self._outbox) and not self._flights
        return self._breaker.closed or (self._breaker.probing and idle)

    async def _fly(self, key: Hashable, query: Query, flight: _Flight) -> None:
        try:
            patterns, strategy = await self._ask_both(query)
            answered = patterns is not None or strategy is not None
            advice = Advice("miss" if answered else "failed", patterns, strategy)
            flight.advice = advice
            if patterns is None or strategy is None:
                self._breaker.failure()
                return
            self._breaker.success()
            if self._flights.get(key) is flight:
                self.cache.put(key, kept(patterns, strategy), advice.size)
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.done.set()

    async def _ask_both(self, query: Query) -> tuple[tuple[Match, ...] | None, Strategy | None]:
        """Both halves; each failure is its own."""
        answers: dict[str, object] = {}

        async def ask(name: str, question: Callable[[Query], Awaitable[object]]) -> None:
            try:
                answers[name] = await undisturbed(name, question, query)
            except Exception as exc:  # noqa: BLE001 - whatever a bank raises, updates go on
                log.warning("bank query failed", half=name, error=repr(exc))

        with anyio.move_on_after(self._config.deadline):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, "patterns", self._bank.retrieve_patterns)
                await ask("strategy", self._bank.learn_strategy)
        return _as_matches(answers.get("patterns")), _as_strategy(answers.get("strategy"))


async def similar_patterns(bank: ReasoningBank, query: Query, deadline: float) -> list[Match]:
    """What a bank retrieves, asked for by itself.

    Raises:
        BankError: the bank failed, did not answer in time, or answered something else.
    """
    answer: object = await within(deadline, "retrieve_patterns", bank.retrieve_patterns, query)
    matches = _as_matches(answer)
    if matches is None:
        raise BankRejectedError(f"retrieve_patterns answered a {type(answer).__name__}")
    return list(matches)


def _as_matches(answer: object) -> tuple[Match, ...] | None:
    """A bank's matches; None if the answer is anything else."""
    if not isinstance(answer, list | tuple):
        return None
    sound = all(isinstance(m, Match) and isinstance(m.pattern, Pattern) for m in answer)
    return tuple(answer) if sound else None


def _as_strategy(answer: object) -> Strategy | None:
    """Hints may hold anything: they are checked where they are applied.

    Numbers that can't be shown are left out; text, matches and effects of another type make the
    whole answer none.
    """
    if not isinstance(answer, Strategy) or not isinstance(answer.recommendation, str):
        return None
    if not isinstance(answer.effects, tuple) or _as_matches(answer.patterns) is None:
        return None
    effects = tuple(effect for effect in answer.effects if _fits(effect, ArmEffect))
    summary = answer.summary if _fits(answer.summary, TrialSummary) else NO_TRIALS
    return replace(answer, effects=effects, summary=summary)


def _fits(part: Any, kind: type) -> bool:
    """Whether every field is what the annotation of ``kind`` says."""
    if not isinstance(part, kind):
        return False
    try:
        from_record(kind, to_record(part))
    except (CodecError, InvalidInputError):
        return False
    return True
