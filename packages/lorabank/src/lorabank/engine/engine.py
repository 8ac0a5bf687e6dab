"""The engine: per-user LoRA adapters that learn online, with or without a ReasoningBank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import numpy as np
from anyio.abc import TaskGroup
from numpy.typing import ArrayLike

from lorabank.adapter import Adapter
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.consolidation import ConsolidationReport, Consolidator, Experiences, Progress
from lorabank.delivery import EpisodeQueue
from lorabank.engine.connecting import NO_DELIVERIES, Connector
from lorabank.engine.inquiry import similar_patterns
from lorabank.engine.merging import merge
from lorabank.engine.report import BankState, EngineStats, UpdateResult
from lorabank.engine.starting import adapter_from_skill, identity_adapter, skill_to_start_from
from lorabank.engine.tally import Tally
from lorabank.engine.updating import Commit, Updater, state_of
from lorabank.errors import BankError, EngineClosedError, InvalidInputError
from lorabank.experts import BoundExperts
from lorabank.kernels import NUMPY, Kernel, open_kernel
from lorabank.logs import get_logger
from lorabank.outbox import DeliveryReport
from lorabank.population import Population
from lorabank.population.recorder import OnPopulationProgress
from lorabank.protocols import ReasoningBank
from lorabank.replay import ExperienceReplay
from lorabank.types.arrays import as_vector
from lorabank.types.checks import check_count, check_number
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import user_key
from lorabank.types.items import ItemPool
from lorabank.types.pattern import Match
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import ConsolidationCriteria
from lorabank.waiting import within

log = get_logger(__name__)
NO_BANK = "no bank is connected: call connect_reasoning_bank first"


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
        self._tally = Tally()
        self._connector = Connector(config, self._clock, self._tally)
        self._tasks: TaskGroup | None = None
        self._periodic: anyio.CancelScope | None = None

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise EngineClosedError("the engine is already open: enter it once")
        self.kernel = await anyio.to_thread.run_sync(open_kernel, self.config.kernel)
        threads = self._threads = anyio.CapacityLimiter(self.config.worker_threads)
        self._updater = Updater(self.config, self._items, self.replay, self._clock, threads)
        self._consolidator = Consolidator(self.config, self._items, self._clock, threads)
        self._tasks = await anyio.create_task_group().__aenter__()
        self._connector.open(self._tasks)
        try:
            if self._bank_at_start is not None:
                await self.connect_reasoning_bank(self._bank_at_start)
        except BaseException:
            await self._end_tasks()
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
            await self._connector.close()
        finally:
            await self._end_tasks(exc)

    # ---- the bank -------------------------------------------------------------------------

    async def connect_reasoning_bank(self, bank: ReasoningBank | str) -> None:
        """Use a bank from now on; once it is open, the one before it is disconnected.

        Updates in flight finish on the bank that they began with.

        Raises:
            UnknownBackendError: no installed backend serves the URL.
            EmbeddingSpaceError: the bank holds another space.
            InvalidInputError: it is neither a URL nor a `ReasoningBank`.
            BankUnavailableError: it could not be reached in time.
            EngineClosedError: the engine is not open, or closes before the bank is.
        """
        self._require_open()
        await self._connector.connect(bank)

    async def disconnect_reasoning_bank(self) -> DeliveryReport:
        """Go on without a bank: wait for updates in flight, drain the outbox, clear the cache.

        Returns what was delivered and what was not. Without a bank, nothing happens.
        """
        self._require_open()
        return await self._connector.disconnect()

    async def deliver_from(self, queue: EpisodeQueue) -> None:
        """Deliver the episodes of a queue kept elsewhere to the connected bank, until cancelled.

        Raises:
            BankError: no bank is connected.
        """
        self._require_open()
        connection = self._connector.connection
        if connection is None:
            raise BankError(NO_BANK)
        await connection.deliver_from(queue)

    async def flush(self) -> DeliveryReport:
        """Wait until every queued episode is delivered, at most ``config.outbox.drain`` seconds.

        Pending episodes stay pending. Without a bank, nothing happens.
        """
        self._require_open()
        connection = self._connector.connection
        return NO_DELIVERIES if connection is None else await connection.flush()

    def has_reasoning_bank(self) -> bool:
        """Whether a bank is connected (also while it is degraded)."""
        return self._connector.connection is not None

    @property
    def bank(self) -> ReasoningBank | None:
        """The connected bank, or None."""
        connection = self._connector.connection
        return None if connection is None else connection.bank

    @property
    def bank_state(self) -> BankState:
        """ "disconnected", "connected" or "degraded"."""
        return state_of(self._connector.connection)

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
        self._experts = await anyio.to_thread.run_sync(
            BoundExperts, population, self._items, limiter=self._threads
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
        skill = None
        if context is not None:
            vector = as_vector(context, "context", self.config.space.dim)
            if not self._stands_on_shared():
                connection = self._connector.connection
                skill = await skill_to_start_from(self.config, connection, vector)
        if skill is not None:
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
        adapter, experts = self.with_kernel(adapter), self._experts
        with self._connector.in_use() as connection:
            result = await self._updater.update(adapter, feedback, connection, commit, experts)
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
        connection = self._connector.connection
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
        connection = self._connector.connection
        if connection is None:
            return []
        return await similar_patterns(connection.bank, query, self.config.query.deadline)

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
        source = experiences or self._experiences
        with self._connector.in_use() as connection:
            if connection is not None:
                return await self._consolidator.run(
                    connection.bank, criteria, source, on_progress, on_population
                )
        if not self.trains_populations:
            raise BankError(NO_BANK)
        return await self._consolidator.share(source, on_population)

    def stats(self) -> EngineStats:
        """Counts since the engine was opened."""
        return self._tally.stats(self._connector.connection, self.replay, self.bank_state)

    # ---- inside ---------------------------------------------------------------------------

    def _stands_on_shared(self) -> bool:
        """A skill's weights on top of the shared adapter would do the same thing twice."""
        experts = self._experts
        return experts is not None and experts.base_expert.adapter is not None

    async def _experiences(self) -> Mapping[str, Sequence[Feedback]]:
        return await self.replay.snapshot(self._clock.wall())

    async def _consolidate_periodically(self, scope: anyio.CancelScope, pause: float) -> None:
        with scope:
            while True:
                await self._clock.sleep(pause)
                if self._connector.connection is None and not self.trains_populations:
                    continue
                try:
                    await self.consolidate_adaptation_patterns()
                except Exception:
                    log.exception("periodic consolidation failed")

    async def _end_tasks(self, exc: BaseException | None = None) -> None:
        """Close the task group. Only cancellation is its business; other errors pass by bare."""
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        tasks.cancel_scope.cancel()
        if isinstance(exc, anyio.get_cancelled_exc_class()):
            await tasks.__aexit__(type(exc), exc, exc.__traceback__)
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
