"""The four phases of one update, around the pure step."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel
import anyio.to_thread

from lorabank.adaptation.least_squares import work_of_solving
from lorabank.adaptation.mixing import Experts
from lorabank.adaptation.preparation import context_of, work_of
from lorabank.adaptation.stacking import prepare_with_experts
from lorabank.adaptation.step import Decision, StepResult, adapt
from lorabank.adapter import Adapter
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.engine.connection import Connection
from lorabank.engine.deciding import decide
from lorabank.engine.inquiry import Advice, CacheState, KeptAdvice
from lorabank.engine.report import (
    BankState,
    EpisodeState,
    HintUse,
    PhaseSeconds,
    UpdateReport,
    UpdateResult,
)
from lorabank.logs import get_logger
from lorabank.numerics.batch import Batch
from lorabank.protocols import ReasoningBank
from lorabank.replay import ExperienceReplay
from lorabank.types.chance import Chance, SeededChance
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import new_id, user_key
from lorabank.types.items import ItemPool
from lorabank.types.pattern import Pattern
from lorabank.types.query import PatternFilter, Query
from lorabank.types.values import changed, made

log = get_logger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# Multiply-adds that take well under the 5 ms for which the event loop may be held up.
INLINE_WORK = 10_000_000
# That one logit of an expert takes, however short the vectors are: its sums and its exponential.
LOGIT_WORK = 64
# Seconds of updates in a row after which others get their turn: an update that finds everything
# at hand has nothing to wait for, and a loop of those would hold the event loop for good.
FAIR = 1e-3
# An update that carries a trial on has more to do than others: it leaves that to the next one,
# unless it has been so long.
LATEST = 2e-3
# Turns of the event loop that are given then. A task whose sleep is over runs in the second turn
# after that on asyncio; with one turn less it would wait for the next row of updates as well.
TURNS = 3

Commit = Callable[[Adapter, Pattern | None], Awaitable[None]]


class Updater:
    """Runs updates; knows no bank of its own but the connection that each update is given."""

    def __init__(
        self,
        config: EngineConfig,
        pool: ItemPool | None,
        replay: ExperienceReplay,
        clock: Clock,
        threads: anyio.CapacityLimiter,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._config = config
        self._pool = pool
        self._replay = replay
        self._clock = clock
        self._threads = threads
        self._timer = timer
        self._rested = timer()
        self._tasks: dict[tuple[int, str], str] = {}
        self._no_advice = Advice("disconnected")

    async def update(
        self,
        adapter: Adapter,
        feedback: Feedback,
        connection: Connection | None,
        commit: Commit | None,
        experts: Experts | None,
    ) -> UpdateResult:
        """One update. Nothing has changed if this raises or is cancelled.

        Raises:
            InvalidInputError: the feedback does not fit the adapter or its objective.
        """
        started = self._timer()
        # What is committed waits for that by itself.
        if commit is None and started - self._rested > (FAIR if adapter.trial is None else LATEST):
            started = await self._give_way()
        key = user_key(adapter.user_id, self._config.user_key_secret)
        rng: Chance = SeededChance((self._config.seed, int(key[:16], 16), adapter.version))
        preparing = (adapter, feedback, self._config, self._pool, experts, rng)
        if self._work_of_preparing(adapter, feedback, experts) <= INLINE_WORK:
            batch, mixing = prepare_with_experts(*preparing)
        else:
            batch, mixing = await self._in_thread(prepare_with_experts, *preparing)

        # Query.
        bank = state_of(connection)
        asked = self._timer()
        advice = await self._ask(adapter, feedback, connection)
        answered = self._timer()
        decision, hints = decide(self._config, key, advice)
        queried = self._timer()

        # Score what came before, gradients, apply.
        computing = (adapter, batch, decision, self._config, rng, self._timer, mixing)
        if self._work_of_computing(adapter, batch, decision) <= INLINE_WORK:
            result = adapt(*computing)
        else:
            result = await self._in_thread(adapt, *computing)
        computed = self._timer()

        # Store.
        updated, finished = result.adapter, result.finished
        pending, accepted = None, True
        if connection is not None:
            pending = self._episode(result, feedback, key, decision, computed - started)
            updated = changed(updated, pending=pending)
        if commit is not None:
            await commit(updated, finished)
        else:
            if connection is not None and pending is not None:
                accepted = await connection.deliver(finished, pending)
            self._replay.add(key, feedback, self._clock.wall())
        seconds = made(
            PhaseSeconds,
            query=queried - started,
            gradients=result.seconds_gradients,
            apply=result.seconds_apply,
            store=self._timer() - computed,
            wait=answered - asked,
        )
        episode = _episode_state(pending, finished) if accepted else "rejected"
        report = _report(result, decision, hints, advice.cache, bank, episode, seconds)
        return UpdateResult(updated, report)

    async def _give_way(self) -> float:
        """Let others have their turn; what the timer says after it."""
        for _ in range(TURNS):
            await anyio.lowlevel.checkpoint()
        self._rested = self._timer()
        return self._rested

    async def _ask(
        self, adapter: Adapter, feedback: Feedback, connection: Connection | None
    ) -> Advice | KeptAdvice:
        if connection is None:
            return self._no_advice
        config = self._config
        refresh = adapter.version // config.query.refresh_every
        cache_key = (
            f"adaptation_{adapter.user_id}_{refresh}",
            config.namespace,
            adapter.rank,
            adapter.dim,
            _generation(connection.bank),
        )
        cached = connection.inquiry.cached(cache_key)
        if cached is not None:
            return cached
        query = Query(
            namespace=config.namespace,
            context=context_of(feedback),
            task=self._task(adapter),
            k=config.query.k,
            where=PatternFilter(objective=adapter.objective),
            defaults=config.defaults,
            asker=user_key(adapter.user_id, config.user_key_secret),
            half_life=config.trials.half_life,
        )
        return await connection.inquiry.advise(cache_key, query)

    def _work_of_preparing(
        self, adapter: Adapter, feedback: Feedback, experts: Experts | None
    ) -> int:
        """Rough number of multiply-adds."""
        if adapter.objective != "contrastive" or self._pool is None:
            return feedback.x.size
        candidates = min(self._config.contrastive.negatives, len(self._pool))
        if experts is None:
            # Targets given as vectors are looked for among the negatives.
            return feedback.x.size * candidates
        logits = len(feedback) * candidates * (len(experts.names) + 1)
        return logits * max(feedback.dim, LOGIT_WORK)

    def _work_of_computing(self, adapter: Adapter, batch: Batch, decision: Decision) -> int:
        """Rough number of multiply-adds."""
        config = self._config
        if config.solver == "rls":
            return work_of_solving(batch, adapter.rank, config.rls)
        passes = decision.hyperparameters.steps + 3
        if decision.observed and (adapter.trial is not None or config.trials.probability > 0):
            # Whether a trial starts is drawn inside. The arm with more steps counts for two.
            passes += config.defaults.steps * (len(config.trials.arms) + 2)
        return work_of(batch, adapter.rank, passes)

    async def _in_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._threads)

    def _episode(
        self, result: StepResult, feedback: Feedback, key: str, decision: Decision, latency: float
    ) -> Pattern:
        """What this update did; it is scored by the next batch. All of it was checked before."""
        now = self._clock.wall()
        adapter = result.adapter
        return made(
            Pattern,
            id=new_id(now),
            namespace=self._config.namespace,
            user_key=key,
            task=self._task(adapter),
            context=context_of(feedback),
            objective=adapter.objective,
            rank=adapter.rank,
            hyperparameters=decision.hyperparameters,
            selection=decision.selection,
            propensity=decision.propensity,
            samples=len(feedback),
            created_at=now,
            latency_ms=1000.0 * max(latency, 0.0),
            critique="",
            skill_ids=adapter.skill_ids,
            outcome=None,
            trial=None,
        )

    def _task(self, adapter: Adapter) -> str:
        """What is being done, for people; it holds no user id."""
        shape = adapter.rank, adapter.objective
        if shape not in self._tasks:
            self._tasks[shape] = f"adapt a rank-{shape[0]} {shape[1]} adapter in {adapter.space}"
        return self._tasks[shape]


def state_of(connection: Connection | None) -> BankState:
    """ "disconnected", "connected" or "degraded"."""
    if connection is None:
        return "disconnected"
    return "degraded" if connection.degraded else "connected"


def _report(
    result: StepResult,
    decision: Decision,
    hints: HintUse,
    cache: CacheState,
    bank: BankState,
    episode: EpisodeState,
    seconds: PhaseSeconds,
) -> UpdateReport:
    return made(
        UpdateReport,
        loss_before=result.loss_before,
        loss_after=result.loss_after,
        identity_loss=result.identity_loss,
        plain_mse=result.plain_mse,
        gradient_norm=result.gradient_norm,
        clipped=result.clipped,
        hyperparameters=decision.hyperparameters,
        hints=hints,
        cache=cache,
        bank=bank,
        episode=episode,
        finished=result.finished,
        seconds=seconds,
        drift=result.drift,
        anchor_moved=result.anchor_moved,
        in_trial=result.in_trial,
        mixture=result.mixture,
    )


def _episode_state(pending: Pattern | None, finished: Pattern | None) -> EpisodeState:
    if finished is not None:
        return "queued"
    return "none" if pending is None else "pending"


def _generation(bank: ReasoningBank) -> int:
    """Part of a cache key, so a foreign bank may not put just anything in."""
    try:
        generation = bank.generation
    except Exception as exc:  # noqa: BLE001 - whatever a bank raises, updates go on
        log.warning("the bank has no generation", error=repr(exc))
        return 0
    return generation if isinstance(generation, int) else 0
