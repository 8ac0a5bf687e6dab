"""The four phases of one update, around the pure step."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import numpy as np

from lorabank.adaptation.mixing import Experts, Mixing
from lorabank.adaptation.preparation import context_of, work_of
from lorabank.adaptation.stacking import prepare_with_experts
from lorabank.adaptation.step import Decision, StepResult, adapt
from lorabank.adapter import Adapter
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.engine.connection import Connection
from lorabank.engine.deciding import decide
from lorabank.engine.inquiry import NO_ADVICE, Advice
from lorabank.engine.report import BankState, EpisodeState, PhaseSeconds, UpdateReport, UpdateResult
from lorabank.logs import get_logger
from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.numerics.mse import MseBatch
from lorabank.protocols import ReasoningBank
from lorabank.replay import ExperienceReplay
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import new_id, user_key
from lorabank.types.items import ItemPool
from lorabank.types.pattern import Pattern
from lorabank.types.query import PatternFilter, Query

log = get_logger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# Multiply-adds that take well under the 5 ms for which the event loop may be held up.
INLINE_WORK = 10_000_000

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
        key = user_key(adapter.user_id, self._config.user_key_secret)
        rng = np.random.default_rng([self._config.seed, int(key[:16], 16), adapter.version])
        batch, mixing = await self._prepare(adapter, feedback, experts, rng)
        bank = state_of(connection)
        advice = await self._ask(adapter, feedback, connection)
        decision, hints = decide(self._config, key, advice)
        if connection is not None:
            decision = replace(decision, observed=True)
        queried = self._timer()
        result, plain_mse = await self._compute(adapter, batch, mixing, decision, rng)
        computed = self._timer()
        updated = result.adapter
        if connection is not None:
            pending = self._episode(result, feedback, key, decision, computed - started)
            updated = replace(updated, pending=pending)
        if commit is None:
            episode = await _deliver(connection, result.finished, updated.pending)
            self._replay.add(key, feedback, self._clock.wall())
        else:
            await commit(updated, result.finished)
            episode = _episode_state(updated.pending, result.finished)
        report = UpdateReport(
            loss_before=result.loss_before,
            loss_after=result.loss_after,
            identity_loss=result.identity_loss,
            plain_mse=plain_mse,
            gradient_norm=result.gradient_norm,
            clipped=result.clipped,
            hyperparameters=decision.hyperparameters,
            hints=hints,
            cache=advice.cache,
            bank=bank,
            episode=episode,
            finished=result.finished,
            seconds=PhaseSeconds(
                query=queried - started,
                gradients=result.seconds_gradients,
                apply=result.seconds_apply,
                store=self._timer() - computed,
            ),
            drift=result.drift,
            anchor_moved=result.anchor_moved,
            in_trial=result.in_trial,
            mixture=result.mixture,
        )
        return UpdateResult(updated, report)

    async def _ask(
        self, adapter: Adapter, feedback: Feedback, connection: Connection | None
    ) -> Advice:
        if connection is None:
            return NO_ADVICE
        config = self._config
        refresh = adapter.version // config.query.refresh_every
        cache_key = (
            f"adaptation_{adapter.user_id}_{refresh}",
            config.namespace,
            adapter.rank,
            adapter.dim,
            _generation(connection.bank),
        )
        query = Query(
            namespace=config.namespace,
            context=context_of(feedback),
            task=task_text(adapter),
            k=config.query.k,
            where=PatternFilter(objective=adapter.objective),
            defaults=config.defaults,
        )
        return await connection.inquiry.advise(cache_key, query)

    async def _prepare(
        self,
        adapter: Adapter,
        feedback: Feedback,
        experts: Experts | None,
        rng: np.random.Generator,
    ) -> tuple[Batch, Mixing | None]:
        work = feedback.x.size
        if adapter.objective == "contrastive" and self._pool is not None:
            # Targets given as vectors are looked for among the negatives.
            work *= min(self._config.contrastive.negatives, len(self._pool))
            work *= 1 if experts is None else len(experts.names) + 1
        arguments = (adapter, feedback, self._config, self._pool, experts, rng)
        return await self._run(work, prepare_with_experts, *arguments)

    async def _compute(
        self,
        adapter: Adapter,
        batch: Batch,
        mixing: Mixing | None,
        decision: Decision,
        rng: np.random.Generator,
    ) -> tuple[StepResult, float | None]:
        config = self._config
        passes = decision.hyperparameters.steps + 3
        if decision.observed and (adapter.trial is not None or config.trials.probability > 0):
            # Whether a trial starts is drawn inside. The arm with more steps counts for two.
            passes += config.defaults.steps * (len(config.trials.arms) + 2)
        work = work_of(batch, adapter.rank, passes)
        arguments = (adapter, batch, mixing, decision, config, rng, self._timer)
        return await self._run(work, _step, *arguments)

    async def _run(self, work: int, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Small work stays inline; more goes to a worker thread."""
        if work <= INLINE_WORK:
            return function(*arguments)
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._threads)

    def _episode(
        self, result: StepResult, feedback: Feedback, key: str, decision: Decision, latency: float
    ) -> Pattern:
        """What this update did; it is scored by the next batch."""
        now = self._clock.wall()
        adapter = result.adapter
        return Pattern(
            id=new_id(now),
            namespace=self._config.namespace,
            user_key=key,
            task=task_text(adapter),
            context=context_of(feedback),
            objective=adapter.objective,
            rank=adapter.rank,
            hyperparameters=decision.hyperparameters,
            selection=decision.selection,
            propensity=decision.propensity,
            samples=len(feedback),
            created_at=now,
            latency_ms=1000.0 * max(latency, 0.0),
            skill_ids=adapter.skill_ids,
        )


def task_text(adapter: Adapter) -> str:
    """What is being done, for people; it holds no user id."""
    return f"adapt a rank-{adapter.rank} {adapter.objective} adapter in {adapter.space}"


def state_of(connection: Connection | None) -> BankState:
    """ "disconnected", "connected" or "degraded"."""
    if connection is None:
        return "disconnected"
    return "degraded" if connection.degraded else "connected"


async def _deliver(
    connection: Connection | None, finished: Pattern | None, pending: Pattern | None
) -> EpisodeState:
    if connection is None or pending is None:
        return "none"
    accepted = await connection.deliver(finished, pending)
    return _episode_state(pending, finished) if accepted else "rejected"


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


def _step(
    adapter: Adapter,
    batch: Batch,
    mixing: Mixing | None,
    decision: Decision,
    config: EngineConfig,
    rng: np.random.Generator,
    timer: Callable[[], float],
) -> tuple[StepResult, float | None]:
    result = adapt(adapter, batch, decision, config, rng, timer, mixing)
    return result, _plain_mse(adapter, batch)


def _plain_mse(adapter: Adapter, batch: Batch) -> float | None:
    if not isinstance(batch, MseBatch):
        return None
    return batch.plain_loss(Matrices(adapter.A, adapter.B, adapter.scale))
