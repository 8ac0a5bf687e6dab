"""The engine: per-user LoRA adapters that learn online, with or without a ReasoningBank."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel
import anyio.to_thread
import numpy as np
from anyio.abc import TaskGroup, TaskStatus
from numpy.typing import ArrayLike

from lorabank.adapter import Adapter
from lorabank.bank import open_bank
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.consolidation import ConsolidationReport, Consolidator, Experiences, Progress
from lorabank.delivery import Delivery, EpisodeQueue
from lorabank.engine.connection import Connection
from lorabank.engine.inquiry import as_matches
from lorabank.engine.merging import merge
from lorabank.engine.report import BankState, EngineStats, UpdateResult
from lorabank.engine.starting import adapter_from_skill, identity_adapter
from lorabank.engine.tally import Tally
from lorabank.engine.updating import Commit, Updater, state_of
from lorabank.errors import (
    BankError,
    BankRejectedError,
    BankUnavailableError,
    EngineClosedError,
    InvalidInputError,
)
from lorabank.experts import BoundExperts
from lorabank.kernels import NUMPY, Kernel, open_kernel
from lorabank.logs import get_logger
from lorabank.outbox import DeliveryReport
from lorabank.population import Population
from lorabank.population.recorder import OnPopulationProgress
from lorabank.protocols import ReasoningBank
from lorabank.replay import ExperienceReplay
from lorabank.skills import fitting_skills
from lorabank.types.arrays import FloatArray, as_vector
from lorabank.types.checks import check_count, check_number
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import user_key
from lorabank.types.items import ItemPool
from lorabank.types.pattern import Match
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import ConsolidationCriteria, Prior, Skill
from lorabank.waiting import apart, patience, within

log = get_logger(__name__)
NO_DELIVERIES = DeliveryReport(0, (), 0, 0, ())
# Seconds that a bank may take to close, beyond the time to drain.
CLOSING = 30.0
# Seconds that a bank may take to open: it may have to start a process, or read an index.
OPENING = 120.0


class LoRAPersonalizationEngine:
    """Creates and updates adapters. Use it with ``async with``; it runs on asyncio and trio.

    Args:
        config: all settings.
        bank: a `ReasoningBank`, a bank URL, or None. A bank given by URL is opened here and
            closed with the engine; an instance is never closed by the engine.
        items: the pool of items, for the contrastive objective and for ``Feedback(items=...)``.
        clock: where time comes from.

    Attributes:
        kernel: what computes, chosen by ``config.kernel`` when the engine opens.

    Raises:
        InvalidInputError: the pool's vectors are of another dimension than the config's space.
    """

    def __init__(
        self,
        config: EngineConfig,
        bank: ReasoningBank | str | None = None,
        *,
        items: ItemPool | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(config, EngineConfig):
            raise InvalidInputError("config", config, "an EngineConfig")
        if items is not None and items.dim != config.space.dim:
            raise InvalidInputError("items", items.dim, f"vectors of dim {config.space.dim}")
        self.config = config
        self.replay = ExperienceReplay(config.replay)
        self.kernel: Kernel = NUMPY
        self._items = items
        self._clock = clock or Clock()
        self._bank_at_start = bank
        self._experts: BoundExperts | None = None
        self._connection: Connection | None = None
        self._tasks: TaskGroup | None = None
        self._tally = Tally()
        self._periodic: anyio.CancelScope | None = None

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise EngineClosedError("the engine is already open: enter it once")
        self.kernel = await anyio.to_thread.run_sync(open_kernel, self.config.kernel)
        threads = self._threads = anyio.CapacityLimiter(self.config.worker_threads)
        self._updater = Updater(self.config, self._items, self.replay, self._clock, threads)
        self._consolidator = Consolidator(self.config, self._items, self._clock, threads)
        self._tasks = await anyio.create_task_group().__aenter__()
        try:
            if self._bank_at_start is not None:
                await self.connect_reasoning_bank(self._bank_at_start)
        except BaseException:
            await self._end_tasks(None, None, None)
            raise
        if self.config.consolidate_every is not None:
            self._periodic = anyio.CancelScope()
            pause = self.config.consolidate_every
            self._tasks.start_soon(self._consolidate_periodically, self._periodic, pause)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._periodic is not None:
            self._periodic.cancel()
        try:
            await self.disconnect_reasoning_bank()
        finally:
            await self._end_tasks(exc_type, exc, traceback)

    # ---- the bank -------------------------------------------------------------------------

    async def connect_reasoning_bank(self, bank: ReasoningBank | str) -> None:
        """Use a bank from now on; a bank connected before is disconnected first.

        Updates in flight finish on the bank that they began with.

        Raises:
            UnknownBackendError: no installed backend serves the URL.
            EmbeddingSpaceError: the bank holds another space.
            InvalidInputError: it is neither a URL nor a `ReasoningBank`.
            BankUnavailableError: it could not be reached in time.
            EngineClosedError: the engine is not open.
        """
        tasks = self._require_open()
        try:
            with anyio.fail_after(OPENING):
                connection: Connection = await tasks.start(self._serve, bank)
        except TimeoutError as exc:
            raise BankUnavailableError(f"the bank did not open within {OPENING:g} s") from exc
        previous, self._connection = self._connection, connection
        if previous is not None:
            await self._close(previous)

    async def disconnect_reasoning_bank(self) -> DeliveryReport:
        """Go on without a bank: wait for updates in flight, drain the outbox, clear the cache.

        Returns what was delivered and what was not. Without a bank, nothing happens.
        """
        self._require_open()
        connection, self._connection = self._connection, None
        if connection is None:
            return NO_DELIVERIES
        return await self._close(connection)

    async def deliver_from(self, queue: EpisodeQueue) -> None:
        """Deliver the episodes of a queue kept elsewhere to the connected bank, until cancelled.

        Raises:
            BankError: no bank is connected.
        """
        self._require_open()
        connection = self._connection
        if connection is None:
            raise BankError("no bank is connected: call connect_reasoning_bank first")
        send, breaker = connection.bank.store_patterns, connection.breaker
        await Delivery(queue, send, self.config.outbox, breaker, self._clock).run()

    async def flush(self) -> DeliveryReport:
        """Wait until every queued episode is delivered, at most ``config.outbox.drain`` seconds.

        Pending episodes stay pending. Without a bank, nothing happens.
        """
        self._require_open()
        connection = self._connection
        if connection is None:
            return NO_DELIVERIES
        with anyio.move_on_after(self.config.outbox.drain):
            await connection.outbox.emptied()
        return connection.outbox.report()

    def has_reasoning_bank(self) -> bool:
        """Whether a bank is connected (also while it is degraded)."""
        return self._connection is not None

    @property
    def bank(self) -> ReasoningBank | None:
        """The connected bank, or None."""
        return None if self._connection is None else self._connection.bank

    @property
    def bank_state(self) -> BankState:
        """ "disconnected", "connected" or "degraded"."""
        return state_of(self._connection)

    # ---- the population -------------------------------------------------------------------

    @property
    def population(self) -> Population | None:
        """What many users share and every user is served with, or None."""
        return None if self._experts is None else self._experts.population

    @property
    def experts(self) -> BoundExperts | None:
        """The population's experts bound to the pool of items, or None."""
        return self._experts

    @property
    def takes_populations(self) -> bool:
        """Whether this engine has what it takes: the contrastive objective, and a pool of items."""
        contrastive = self.config.objective == "contrastive" and self._items is not None
        return contrastive and self.config.mixture.enabled

    @property
    def trains_populations(self) -> bool:
        """Whether consolidation makes them: it takes them, and ``config.population.enabled``."""
        return self.takes_populations and self.config.population.enabled

    async def use_population(self, population: Population | None) -> None:
        """Serve and update every user with these experts from now on; None: with none.

        Updates in flight finish with the population that they began with.

        Raises:
            InvalidInputError: it is of another space or pool, or the engine takes none.
            EngineClosedError: the engine is not open.
        """
        self._require_open()
        if population is None:
            self._experts = None
            return
        if not self.takes_populations or self._items is None:
            expected = "the contrastive objective, items=, and config.mixture.enabled"
            raise InvalidInputError("population", self.config.objective, expected)
        if population.space != self.config.space:
            raise InvalidInputError("population", str(population.space), str(self.config.space))
        arguments = (population, self._items, self.config.mixture)
        self._experts = await anyio.to_thread.run_sync(
            BoundExperts, *arguments, limiter=self._threads
        )

    # ---- adapters -------------------------------------------------------------------------

    async def create_adapter(self, user_id: str, *, context: ArrayLike | None = None) -> Adapter:
        """A new user's adapter.

        Args:
            user_id: any non-empty text. It never reaches a bank; its keyed hash does.
            context: what the user likes, (dim,), as far as known. With a bank connected, the
                skill that fits it best gives the starting weights. None starts as the identity,
                and so does everyone who stands on a population's shared adapter.

        Raises:
            InvalidInputError: an empty user_id, or a context of wrong dim or with NaN.
            EngineClosedError: the engine is not open.
        """
        self._require_open()
        key = user_key(user_id, self.config.user_key_secret)
        vector = None
        if context is not None:
            vector = as_vector(context, "context", self.config.space.dim)
        if vector is not None and not self._stands_on_shared():
            for skill in await self._fitting_skills(vector):
                self._tally.skills_used += 1
                return self.with_kernel(adapter_from_skill(self.config, user_id, skill))
        rng = np.random.default_rng([self.config.seed, int(key[:16], 16)])
        return self.with_kernel(identity_adapter(self.config, user_id, rng))

    def with_kernel(self, adapter: Adapter) -> Adapter:
        """The same adapter, computed by this engine's kernel: for one that comes from bytes."""
        return adapter if adapter.kernel is self.kernel else replace(adapter, kernel=self.kernel)

    async def update_adapter(
        self, adapter: Adapter, feedback: Feedback, *, commit: Commit | None = None
    ) -> UpdateResult:
        """Learn from one batch of feedback. Returns a new adapter; the old one is untouched.

        When this has returned, the finished episode is queued for delivery; closing the engine
        waits for it. If this is cancelled, the old adapter stays valid and nothing is lost.

        Args:
            adapter: as the last update returned it.
            feedback: n >= 1 observations.
            commit: awaited with the new adapter and the finished episode (or None) before this
                returns, for callers that keep both in a store of their own. The engine then
                neither queues the episode nor keeps the feedback for its replay, and what
                ``commit`` raises is raised here. It gives the event loop its turn: one that
                awaits nothing lets a loop of updates hold it.

        Raises:
            InvalidInputError: names the field, the value and what was expected.
            EngineClosedError: the engine is not open.
        """
        self._require_open()
        self._check_adapter(adapter)
        if not isinstance(feedback, Feedback):
            raise InvalidInputError("feedback", feedback, "a Feedback")
        adapter = self.with_kernel(adapter)
        connection = self._connection
        if connection is None:
            result = await self._updater.update(adapter, feedback, None, commit, self._experts)
        else:
            connection.begin_update()
            try:
                result = await self._updater.update(
                    adapter, feedback, connection, commit, self._experts
                )
            finally:
                connection.end_update()
        self._tally.updates += 1
        return result

    def merge_adapters(
        self,
        adapters: Sequence[Adapter],
        weights: Sequence[float] | None = None,
        *,
        user_id: str | None = None,
    ) -> Adapter:
        """One adapter that does what the given ones do on (weighted) average.

        Averages the products B A and truncates by SVD; averaging A and B apart would not mean
        anything. It computes in the thread that calls it, which may be any: from ten adapters on,
        that is one for ``anyio.to_thread.run_sync``.

        Raises:
            InvalidInputError: no adapters, or of different rank, space, objective or scale.
            EngineClosedError: the engine is not open.
        """
        self._require_open()
        return self.with_kernel(merge(adapters, weights, user_id))

    async def forget(self, user_id: str) -> int:
        """Remove a user here and in the bank: replay, episodes on their way, patterns, skills.

        Skills that the user is in are removed whole; consolidation makes them anew without the
        user. So it does the population, which goes on being used until then. Returns how many
        patterns went. The caller drops the adapter itself, and starts no more updates of this
        user before.

        Raises:
            BankError: the bank could not do it; the local part is done.
        """
        self._require_open()
        key = user_key(user_id, self.config.user_key_secret)
        self.replay.forget(key)
        self._consolidator.forget(key)
        connection = self._connection
        if connection is None:
            return 0
        await connection.forget(key)
        deadline, namespace = self.config.query.deadline, self.config.namespace
        return await within(deadline, "forget", connection.bank.forget, namespace, key)

    # ---- what others learned --------------------------------------------------------------

    async def get_similar_adaptations(
        self, context: ArrayLike, k: int = 5, *, min_reward: float = 0.7
    ) -> list[Match]:
        """Successful adaptations of users whose context is like this one, best first.

        Args:
            context: (dim,).
            k: at most this many, >= 0.
            min_reward: in [0, 1]; on the reward of the success policy.

        Returns an empty list without a bank.

        Raises:
            InvalidInputError: a bad context, a negative k.
            BankError: the bank failed or did not answer in time.
        """
        self._require_open()
        check_count(k, "k")
        check_number(min_reward, "min_reward", low=0.0, high=1.0)
        query = Query(
            namespace=self.config.namespace,
            context=as_vector(context, "context", self.config.space.dim),
            k=k,
            where=PatternFilter(min_reward=min_reward, objective=self.config.objective),
            defaults=self.config.defaults,
        )
        connection = self._connection
        if connection is None:
            return []
        deadline, retrieve = self.config.query.deadline, connection.bank.retrieve_patterns
        answer: object = await within(deadline, "retrieve_patterns", retrieve, query)
        matches = as_matches(answer)
        if matches is None:
            raise BankRejectedError(f"retrieve_patterns answered a {type(answer).__name__}")
        return list(matches)

    async def consolidate_adaptation_patterns(
        self,
        criteria: ConsolidationCriteria | None = None,
        *,
        experiences: Experiences | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_population: OnPopulationProgress | None = None,
    ) -> ConsolidationReport:
        """Turn episodes into skills: hyperparameters with evidence, and prior weights.

        The bank groups episodes and weighs their evidence; each group's prior is then trained
        here, on the experience replay, in a worker thread, and kept only if it beats its parent
        on held-out users. Cancelling it leaves the skills that are stored by then.

        Where the pool of items is known, what all users share is trained as well: without a bank
        that alone. It is in the report and not used yet: with `use_population` an adapter stands
        on what is shared, and `Adapter.transform` alone is no longer what the user is served.
        `Personalizer` does both.

        Args:
            criteria: when a group counts; None means the defaults.
            experiences: asked for each (hashed) user's feedback to train on; None means this
                engine's replay.
            on_progress: called in the event loop after each epoch of a skill's training.
            on_population: the same for what all users share; the result is in the report.

        Raises:
            InvalidInputError: criteria of another type.
            BankError: the bank failed; or none is connected, and there is nothing to share.
        """
        self._require_open()
        criteria = ConsolidationCriteria() if criteria is None else criteria
        if not isinstance(criteria, ConsolidationCriteria):
            raise InvalidInputError("criteria", criteria, "ConsolidationCriteria")
        connection, source = self._connection, experiences or self._experiences
        if connection is not None:
            connection.begin_update()
            try:
                report = await self._consolidator.run(
                    connection.bank,
                    criteria,
                    source,
                    on_progress,
                    on_population,
                )
            finally:
                connection.end_update()
        elif self.trains_populations:
            report = await self._consolidator.share(source, on_population)
        else:
            raise BankError("no bank is connected: call connect_reasoning_bank first")
        return report

    def stats(self) -> EngineStats:
        """Counts since the engine was opened."""
        return self._tally.stats(self._connection, self.replay, self.bank_state)

    # ---- inside ---------------------------------------------------------------------------

    def _stands_on_shared(self) -> bool:
        """A skill's weights on top of the shared adapter would do the same thing twice."""
        experts = self._experts
        return experts is not None and experts.base_expert.adapter is not None

    async def _experiences(self) -> Mapping[str, Sequence[Feedback]]:
        return await self.replay.snapshot(self._clock.wall())

    async def _fitting_skills(self, context: FloatArray) -> list[Skill]:
        """Skills with weights for this context, most specific first; none if the bank fails."""
        connection = self._connection
        if connection is None or connection.degraded:
            return []
        skills: list[Skill] = []
        try:
            with anyio.move_on_after(patience(self.config.query.budget)) as scope:
                skills = await apart("skills", connection.bank.skills, self.config.namespace)
            fitting = fitting_skills(skills, self.config.space, self.config.objective, context)
            found = [skill for skill in fitting if isinstance(skill.prior, Prior)]
        except Exception as exc:  # noqa: BLE001 - whatever a bank raises, users still start
            log.warning("skills are not available, starting as the identity", error=repr(exc))
            connection.breaker.failure()
            return []
        if scope.cancelled_caught:  # slow is not broken: queries, which have longer, decide that
            log.warning("skills took too long, starting as the identity")
        return found

    async def _serve(
        self, source: ReasoningBank | str, *, task_status: TaskStatus[Connection]
    ) -> None:
        """One bank's life, in one task: opened (if ours), bound, served, drained, closed."""
        connection: Connection | None = None
        try:
            with anyio.CancelScope() as scope:
                async with self._opened(source) as bank, anyio.create_task_group() as queries:
                    connection = Connection(bank, self.config, self._clock, queries, scope)
                    task_status.started(connection)
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    # From here on only `_close` ends it: whoever cancels the engine's body must
                    # not take away the delivery of what was acknowledged.
                    scope.shield = True
                    await connection.run()
                    queries.cancel_scope.cancel()
        except Exception:
            if connection is None:
                raise
            log.exception("the bank failed while it was closed")
        finally:
            if connection is not None:
                connection.closed.set()
                if not connection.closing.is_set():
                    # asyncio cancels whatever is still there when its loop shuts down.
                    lost = len(connection.outbox.report().undelivered)
                    log.error("the engine was left open: episodes are lost", count=lost)

    @asynccontextmanager
    async def _opened(self, source: ReasoningBank | str) -> AsyncIterator[ReasoningBank]:
        """A bank given by URL is opened and closed here; an instance is only bound."""
        if isinstance(source, str):
            space, clock = self.config.space, self._clock.wall
            async with open_bank(source, space=space, clock=clock) as bank:
                yield bank
            return
        if not isinstance(source, ReasoningBank):
            raise InvalidInputError("bank", source, "a ReasoningBank or a URL")
        await within(self.config.query.deadline, "bind", source.bind, self.config.space)
        yield source

    async def _close(self, connection: Connection) -> DeliveryReport:
        """Ask a connection to end, and wait for its drain and for the bank's own closing."""
        connection.closing.set()
        with anyio.move_on_after(2 * self.config.outbox.drain + CLOSING, shield=True) as scope:
            await connection.closed.wait()
        if scope.cancelled_caught:
            log.error("the bank did not close in time", seconds=CLOSING)
            connection.scope.cancel()
        report = connection.report or connection.outbox.report()
        self._tally.add(connection, report)
        if report.undelivered:
            log.error("episodes were not delivered", count=len(report.undelivered))
        return report

    async def _consolidate_periodically(self, scope: anyio.CancelScope, pause: float) -> None:
        with scope:
            while True:
                await self._clock.sleep(pause)
                if self._connection is None and not self.trains_populations:
                    continue
                try:
                    await self.consolidate_adaptation_patterns()
                except Exception:
                    log.exception("periodic consolidation failed")

    async def _end_tasks(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the task group. Only cancellation is its business; other errors pass by bare."""
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        tasks.cancel_scope.cancel()
        if exc is not None and isinstance(exc, anyio.get_cancelled_exc_class()):
            await tasks.__aexit__(exc_type, exc, traceback)
        else:
            await tasks.__aexit__(None, None, None)

    def _require_open(self) -> TaskGroup:
        if self._tasks is None:
            raise EngineClosedError("the engine is not open: use 'async with engine:'")
        return self._tasks

    def _check_adapter(self, adapter: Adapter) -> None:
        if not isinstance(adapter, Adapter):
            raise InvalidInputError("adapter", adapter, "an Adapter")
        own = self.config
        if adapter.space is not own.space and adapter.space != own.space:
            raise InvalidInputError("adapter.space", adapter.space, str(own.space))
        if adapter.objective != own.objective:
            raise InvalidInputError("adapter.objective", adapter.objective, own.objective)
