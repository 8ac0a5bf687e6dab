"""`Personalizer`: learn, transform, rank and forget by user id, over a store and a bank."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import ArrayLike

from lorabank.adapter import Adapter
from lorabank.background import background
from lorabank.clock import Clock
from lorabank.config import MEBIBYTE, EngineConfig
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.engine import EngineStats, LoRAPersonalizationEngine, UpdateReport
from lorabank.errors import (
    InvalidInputError,
)
from lorabank.experts import ExpertWeights, mixed_transform, trust
from lorabank.logs import get_logger
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.courier import StoreQueue
from lorabank.personalizer.forgetting import Forgetter
from lorabank.personalizer.learner import Learner
from lorabank.personalizer.locks import KeyedLocks
from lorabank.personalizer.many import ManyUpdates, ManyUsers
from lorabank.personalizer.populations import Populations
from lorabank.personalizer.ranking import Ranked, as_recent, rank_candidates, rank_mixed
from lorabank.personalizer.receipt import ForgetReceipt
from lorabank.personalizer.selection import Selection
from lorabank.personalizer.upkeep import Upkeep
from lorabank.population.recorder import OnPopulationProgress
from lorabank.protocols import ReasoningBank
from lorabank.stores import AdapterStore, StoreCounts, open_adapter_store
from lorabank.types.arrays import (
    FloatArray,
    as_array,
    as_matrix,
    as_vector,
    check_out,
    read_only,
)
from lorabank.types.checks import check_count, check_number, check_positive, check_text
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool
from lorabank.types.skill import ConsolidationCriteria

log = get_logger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# Numbers that are looked at (or multiplied with) in well under the 5 ms for which the event loop
# may be held up.
INLINE_NUMBERS = 1 << 20


class Personalizer:
    """The facade over an engine, an adapter store and a bank. Use `Personalizer.open`.

    Updates of one user run one at a time, in order; different users run side by side. When
    `learn` returns, the new adapter and its finished episode are in the store, together.
    """

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        items: ItemPool | None,
        clock: Clock,
        *,
        hot_adapters: int,
        hot_bytes: int,
        fresh_for: float,
        concurrency: int,
        patience: float,
    ) -> None:
        check_count(hot_adapters, "hot_adapters", low=1)
        check_count(hot_bytes, "hot_bytes", low=1)
        check_number(fresh_for, "fresh_for", low=0.0)
        check_count(concurrency, "concurrency", low=1)
        check_positive(patience, "patience")
        self._engine = engine
        self._store = store
        self._items = items
        self._clock = clock
        self._locks = KeyedLocks()
        self._adapters = Adapters(
            engine,
            store,
            clock,
            capacity=hot_adapters,
            max_bytes=hot_bytes,
            fresh_for=fresh_for,
        )
        self._populations = Populations(engine, store, clock, fresh_for=fresh_for)
        self._queue = StoreQueue(store, self._forget_again, clock)
        self._upkeep = Upkeep(engine, store, self._queue, clock, self.consolidate)
        self._forgetter = Forgetter(
            engine, store, self._adapters, self._queue, clock, self._upkeep.rebuild
        )
        self._learner = Learner(
            engine,
            store,
            self._adapters,
            self._populations,
            self._locks,
            clock,
            concurrency=concurrency,
            patience=patience,
            queued=self._queue.notify,
        )
        self._threads = anyio.CapacityLimiter(engine.config.worker_threads)
        self._many = ManyUsers(self._adapters, self._learner, self._threads, concurrency)
        self._consolidating = anyio.Lock()
        self._criteria: ConsolidationCriteria | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: EngineConfig,
        *,
        store: str | AdapterStore = "memory://",
        bank: str | ReasoningBank | None = None,
        items: ItemPool | None = None,
        clock: Clock | None = None,
        hot_adapters: int = 10_000,
        hot_bytes: int = 256 * MEBIBYTE,
        fresh_for: float = 5.0,
        concurrency: int = 256,
        patience: float = 30.0,
    ) -> AsyncIterator[Personalizer]:
        """Open the store, the bank and the engine, and close them in the end.

        Args:
            config: of the engine. ``config.replay`` bounds the store's replay.
            store: ``memory://``, ``sqlite:///path.db``, or a store that the caller closes.
            bank: a bank URL, a bank that the caller closes, or None.
            items: the pool of items.
            clock: where time comes from.
            hot_adapters, hot_bytes: adapters kept in memory, and bytes that they take, at most;
                whichever is reached first. An adapter with a trial takes many times its weights.
            fresh_for: seconds by which `transform` and `rank` may lag behind what *other*
                processes have stored, at most; this process's own updates are seen at once.
            concurrency: updates under way at once; more callers wait for their turn.
            patience: seconds that `learn` waits for its turn, and that it goes on computing
                again against other writers.

        Raises:
            InvalidInputError: a URL that is none, or a setting out of range.
            StoreError: the store can't be opened.
            BankError: the bank can't be opened.
        """
        clock = clock or Clock()
        engine = LoRAPersonalizationEngine(
            replace(config, replay=replace(config.replay, enabled=False), consolidate_every=None),
            bank,
            items=items,
            clock=clock,
        )
        async with _opened(store, config) as opened, engine, background() as tasks:
            personalizer = cls(
                engine,
                opened,
                items,
                clock,
                hot_adapters=hot_adapters,
                hot_bytes=hot_bytes,
                fresh_for=fresh_for,
                concurrency=concurrency,
                patience=patience,
            )
            try:
                personalizer._upkeep.start(tasks, config.consolidate_every)
                if engine.trains_populations and await personalizer._populations.is_stale():
                    personalizer._upkeep.rebuild()
                yield personalizer
            finally:
                if engine.has_reasoning_bank():
                    await personalizer._upkeep.drain()
                    await personalizer._upkeep.resign()
                tasks.cancel_scope.cancel()

    # ---- what applications call -----------------------------------------------------------

    async def learn(self, user_id: str, feedback: Feedback) -> UpdateReport:
        """Learn from feedback. What this returns from is stored, and survives the process.

        If another process changed the adapter meanwhile, the update is computed again on the
        fresh one, so no update is lost and none is counted twice. If this is cancelled, the
        feedback was learned entirely or not at all.

        Raises:
            InvalidInputError: the feedback; nothing was changed.
            StoreUnavailableError: no turn, or no success against other writers, within patience,
                or a passing fault of the store; nothing was changed.
            StoreError: the store failed; nothing was changed.
        """
        check_text(user_id, "user_id")
        if not isinstance(feedback, Feedback):
            raise InvalidInputError("feedback", feedback, "a Feedback")
        return await self._learner.learn(user_id, feedback)

    async def transform(self, user_id: str, X: ArrayLike) -> FloatArray:
        """The user's view of embeddings (dim,) or (n, dim), float32 of the same shape.

        A user without an adapter is served as a new one would be; nothing is stored. With a
        population, it is the vector of the experts' geometric mixture, to search an index of
        `item_vectors` with; popularity, biases and neighbours are in `rank` alone.

        Raises:
            InvalidInputError: wrong dimension, NaN or infinity; or the stored adapter is of
                another space or objective than the config.
            StoreError: the store failed.
        """
        check_text(user_id, "user_id")
        size = as_array(X, "X").size
        context = await self._run(size, _mean_of, X, self._engine.config.space.dim)
        experts = await self._populations.current()
        adapter = await self._adapters.to_serve(user_id, context)
        if experts is None:
            return await self._run(size * adapter.rank, adapter.transform, X)
        inputs = as_matrix(X, "X", adapter.dim)
        arguments = (adapter, experts, inputs, self._engine.config.mixture)
        served = await self._run(size * adapter.dim, mixed_transform, *arguments)
        return served.reshape(np.shape(X))

    async def forward_many(
        self, users: Sequence[str] | Selection, X: ArrayLike, out: FloatArray | None = None
    ) -> FloatArray:
        """Each user's view of an embedding of its own: `transform` of many in one call.

        With a population, it is one call for each all the same: the experts have to be mixed.

        Args:
            users: n ids, of which one may come several times. A list of the same ids as in the
                last call is not looked up again, unless an adapter has changed since; nor is a
                `Selection`, whatever comes in between.
            X: (n, dim); row i is seen by user i.
            out: float32 (n, dim), C-contiguous, apart from X, for the result.

        Returns float32 (n, dim), to the bit what `transform` gives with a compiled kernel, and
        within float32 with numpy.

        Raises:
            InvalidInputError: as for `transform`, or not as many users as rows.
            StoreError: the store failed.
        """
        inputs = as_matrix(X, "X", self._engine.config.space.dim, checked=False)
        chosen = self._many.chosen(users)
        if len(chosen) != len(inputs):
            raise InvalidInputError("user_ids", users, f"one for each of {len(inputs)} rows")
        if out is None:
            out = np.empty_like(inputs)
        else:
            check_out(out, inputs.shape, inputs)
        if await self._populations.current() is None:
            return await self._many.forward(chosen, inputs, out)
        for row, user_id in enumerate(chosen.user_ids):
            out[row] = await self.transform(user_id, inputs[row])
        return out

    async def update_many(self, feedback: Mapping[str, Feedback]) -> ManyUpdates:
        """`learn` for many users, each committed as there; commits share the store's transactions.

        Users are independent: a feedback that can't be learned, or a fault of the store, changes
        nothing for its own user and is told in ``failed``. If this is cancelled, each user's
        feedback was learned entirely or not at all.

        Raises:
            InvalidInputError: something is not a user id with a `Feedback` of the right dimension;
                nothing was changed for anybody.
        """
        dim = self._engine.config.space.dim
        for user_id, batch in feedback.items():
            check_text(user_id, "user_id")
            if not isinstance(batch, Feedback):
                raise InvalidInputError(f"feedback[{user_id!r}]", batch, "a Feedback")
            if batch.dim != dim:
                raise InvalidInputError(f"feedback[{user_id!r}]", batch.x.shape, f"dim {dim}")
        return await self._many.update(feedback)

    async def rank(
        self,
        user_id: str,
        context: ArrayLike,
        candidates: ArrayLike | None = None,
        k: int = 10,
        *,
        recent: ArrayLike | None = None,
    ) -> list[Ranked]:
        """The k best candidates for a context, best first, equal ones by position.

        With a population, the score is the log of the probability that the mixture of its experts
        gives an item among the candidates.

        Args:
            user_id: whose adapter is used.
            context: (dim,).
            candidates: positions in the pool (m,), or vectors (m, dim), or None for the pool.
            k: at most this many.
            recent: positions of the items that the user liked last, newest first, where you know
                more than was learned; None means those learned from.

        Raises:
            InvalidInputError: bad context or candidates, a negative k; or as for `transform`.
            StoreError: the store failed.
        """
        check_text(user_id, "user_id")
        vector = as_vector(context, "context", self._engine.config.space.dim)
        liked = as_recent(recent, self._items)
        experts = await self._populations.current()
        adapter = await self._adapters.to_serve(user_id, vector)
        if experts is None:
            return await self._rank_alone(adapter, vector, candidates, k)
        given = None if candidates is None else as_array(candidates, "candidates")
        count = len(experts.pool) if given is None else given.size
        work = count * adapter.dim * len(experts.names)
        mixture = self._engine.config.mixture
        arguments = (adapter, experts, vector, given, k, liked, mixture)
        return await self._run(work, rank_mixed, *arguments)

    async def expert_weights(self, user_id: str) -> ExpertWeights | None:
        """How far each expert of the population is trusted with a user; None without one.

        Raises:
            StoreError: the store failed.
        """
        check_text(user_id, "user_id")
        experts = await self._populations.current()
        if experts is None:
            return None
        adapter = await self._adapters.known(user_id)
        state = None if adapter is None else adapter.experts
        return trust(state, experts, self._engine.config.mixture)

    async def item_vectors(self) -> FloatArray:
        """The items as `transform` expects them in an index: float32 (N, dim), read-only.

        Their embeddings, plus what the population has learned about each. They change with every
        consolidation.

        Raises:
            InvalidInputError: opened without ``items``.
            StoreError: the store failed.
        """
        if self._items is None:
            raise InvalidInputError("items", None, "a pool: open with items=")
        experts = await self._populations.current()
        vectors: FloatArray = self._items.vectors if experts is None else experts.item_vectors
        return read_only(vectors)

    async def forget(self, user_id: str) -> ForgetReceipt:
        """Remove everything of a user, look whether it is gone, and say so.

        The user's turn is waited for. Episodes made up to this moment are refused from now on,
        also if they arrive late. Skills that the user is in are removed, and rebuilt from the
        others in the background. Without a receipt, do it again: it is never too often.

        Raises:
            StoreError: the store failed; do it again.
            BankError: the bank failed; the store's part is done; do it again.
        """
        check_text(user_id, "user_id")
        async with self._locks.hold(user_id):
            return await self._forgetter.forget(user_id)

    async def consolidate(
        self,
        criteria: ConsolidationCriteria | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_population: OnPopulationProgress | None = None,
    ) -> ConsolidationReport:
        """Turn episodes and the store's replay into skills and a population.

        See the engine's method. The population is stored, for all processes, and served from now
        on.

        Args:
            criteria: when a group counts; kept for the consolidations in the background. None
                means those given last, or the defaults.
            on_progress: called in the event loop after each epoch of a skill's training.
            on_population: the same for the population's.

        Raises:
            BankError: the bank failed; or none is connected, and there is no population to make.
            StoreError: the store failed.
        """

        read: list[tuple[float, bool]] = []

        async def experiences() -> Mapping[str, Sequence[Feedback]]:
            now = self._clock.wall()
            found = await self._store.experiences(now)
            batches = chain.from_iterable(found.values())
            read.append((now, any(feedback.items is not None for feedback in batches)))
            return found

        async with self._consolidating:
            self._criteria = criteria or self._criteria
            owed = await self._store.duties("rebuild", self._clock.wall())
            report = await self._engine.consolidate_adaptation_patterns(
                self._criteria,
                experiences=experiences,
                on_progress=on_progress,
                on_population=on_population,
            )
            if report.population is not None:
                if await self._populations.keep(report.population, read[-1][0]):
                    self._upkeep.rebuild()
            elif self._engine.trains_populations and not read[-1][1]:
                await self._populations.drop_if_stale()
            for duty in owed:
                await self._store.discharge(duty)
            return report

    async def stats(self) -> tuple[EngineStats, StoreCounts]:
        """Counts of the engine since opening, and of the store."""
        return self._engine.stats(), await self._store.counts()

    async def _rank_alone(
        self, adapter: Adapter, context: FloatArray, candidates: ArrayLike | None, k: int
    ) -> list[Ranked]:
        size = 0 if self._items is None else self._items.vectors.size
        if candidates is not None:
            given = as_array(candidates, "candidates")
            size = given.size * (1 if given.ndim == 2 else len(context))
        return await self._run(size, rank_candidates, adapter, context, candidates, self._items, k)

    async def _run(self, work: int, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Small work stays inline; more goes to a worker thread."""
        if work <= INLINE_NUMBERS:
            return function(*arguments)
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._threads)

    async def _forget_again(self, key: str) -> None:
        await self._forgetter.forget_again(key)


def _mean_of(X: ArrayLike, dim: int) -> FloatArray:
    """Stands for what the user likes now, if no more is known."""
    mean: FloatArray = as_matrix(X, "X", dim).mean(axis=0)
    return mean


@asynccontextmanager
async def _opened(store: str | AdapterStore, config: EngineConfig) -> AsyncIterator[AdapterStore]:
    """A store given by URL is opened and closed here; an instance is the caller's."""
    if isinstance(store, str):
        async with open_adapter_store(store, replay=config.replay) as opened:
            yield opened
    else:
        yield store
