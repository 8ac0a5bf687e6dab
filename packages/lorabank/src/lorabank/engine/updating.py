"""The four phases of one update, around the pure step."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel
import anyio.to_thread

from lorabank.adaptation.least_squares import work_of_solving
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
# Seconds of updates in a row after which others get their turn: an update that finds everything
# at hand has nothing to wait for, and a loop of those would hold the event loop for good.
FAIR = 1e-3
# Turns of the event loop that are given then: a delivery takes some to get through.
TURNS = 2

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
        await self._give_way()
        started = self._timer()
        key = user_key(adapter.user_id, self._config.user_key_secret)
        rng = SeededChance((self._config.seed, int(key[:16], 16), adapter.version))
        batch, mixing = await self._prepare(adapter, feedback, experts, rng)
        bank = state_of(connection)
        advice = await self._ask(adapter, feedback, connection)
        decision, hints = decide(self._config, key, advice)
        if connection is not None:
            decision = changed(decision, observed=True)
        queried = self._timer()
        result, plain_mse = await self._compute(adapter, batch, mixing, decision, rng)
        computed = self._timer()
        updated = result.adapter
        if connection is not None:
            pending = self._episode(result, feedback, key, decision, computed - started)
            updated = changed(updated, pending=pending)
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

    async def _give_way(self) -> None:
        if self._timer() - self._rested > FAIR:
            for _ in range(TURNS):
                await anyio.lowlevel.checkpoint()
            self._rested = self._timer()

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

    async def _prepare(
        self, adapter: Adapter, feedback: Feedback, experts: Experts | None, rng: Chance
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
        rng: Chance,
    ) -> tuple[StepResult, float | None]:
        config = self._config
        passes = decision.hyperparameters.steps + 3
        if decision.observed and (adapter.trial is not None or config.trials.probability > 0):
            # Whether a trial starts is drawn inside. The arm with more steps counts for two.
            passes += config.defaults.steps * (len(config.trials.arms) + 2)
        work = work_of(batch, adapter.rank, passes)
        if config.solver == "rls":
            work = work_of_solving(batch, adapter.rank, config.rls)
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
    rng: Chance,
    timer: Callable[[], float],
) -> tuple[StepResult, float | None]:
    result = adapt(adapter, batch, decision, config, rng, timer, mixing)
    return result, _plain_mse(adapter, batch, result.loss_before)


def _plain_mse(adapter: Adapter, batch: Batch, loss: float) -> float | None:
    """Without weights it is ``loss``, related to the number of components instead of the energy."""
    if not isinstance(batch, MseBatch):
        return None
    if batch.weights is None:
        return loss * batch.energy() / batch.X.size
    return batch.plain_loss(Matrices(adapter.A, adapter.B, adapter.scale))
