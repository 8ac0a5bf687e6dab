"""The four phases of one update, around the pure step."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import anyio.to_thread
import numpy as np

from lorabank.adaptation.preparation import context_of, work_of
from lorabank.adaptation.step import Decision, StepResult, adapt, prepare
from lorabank.adapter import Adapter
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.engine.connection import Connection
from lorabank.engine.deciding import decide
from lorabank.engine.inquiry import NO_ADVICE, Advice
from lorabank.engine.report import BankState, EpisodeState, PhaseSeconds, UpdateReport, UpdateResult
from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.numerics.mse import MseBatch
from lorabank.replay import ExperienceReplay
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import new_id, user_key
from lorabank.types.items import ItemPool
from lorabank.types.pattern import Pattern
from lorabank.types.query import PatternFilter, Query

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
    ) -> UpdateResult:
        """One update. Nothing has changed if this raises or is cancelled.

        Raises:
            InvalidInputError: the feedback does not fit the adapter or its objective.
        """
        started = self._timer()
        key = user_key(adapter.user_id, self._config.user_key_secret)
        rng = np.random.default_rng([self._config.seed, int(key[:16], 16), adapter.version])
        batch = prepare(adapter, feedback, self._config, self._pool, rng)
        advice = await self._ask(adapter, feedback, connection)
        bank = state_of(connection)
        decision, hints = decide(self._config, key, advice)
        if connection is not None:
            decision = replace(decision, observed=True)
        queried = self._timer()
        result = await self._compute(adapter, batch, decision, rng)
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
            plain_mse=_plain_mse(adapter, batch),
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
            connection.bank.generation,
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

    async def _compute(
        self, adapter: Adapter, batch: Batch, decision: Decision, rng: np.random.Generator
    ) -> StepResult:
        """Small work stays inline; more goes to a worker thread."""
        passes = decision.hyperparameters.steps + 2
        if adapter.trial is not None:
            passes += len(adapter.trial.arms)
        arguments = (adapter, batch, decision, self._config, rng, self._timer)
        if work_of(batch, adapter.rank, passes) <= INLINE_WORK:
            return adapt(*arguments)
        return await anyio.to_thread.run_sync(adapt, *arguments, limiter=self._threads)

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


def _plain_mse(adapter: Adapter, batch: Batch) -> float | None:
    if not isinstance(batch, MseBatch):
        return None
    return batch.plain_loss(Matrices(adapter.A, adapter.B, adapter.scale))
