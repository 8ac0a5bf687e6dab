"""`Personalizer`: learn, transform, rank and forget by user id, over a store and a bank."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
from numpy.typing import ArrayLike

from lorabank.background import background
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.engine import EngineStats, LoRAPersonalizationEngine, UpdateReport
from lorabank.errors import (
    InvalidInputError,
)
from lorabank.logs import get_logger
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.courier import StoreQueue
from lorabank.personalizer.forgetting import Forgetter
from lorabank.personalizer.learner import Learner
from lorabank.personalizer.locks import KeyedLocks
from lorabank.personalizer.ranking import Ranked, rank_candidates
from lorabank.personalizer.receipt import ForgetReceipt
from lorabank.personalizer.upkeep import Upkeep
from lorabank.protocols import ReasoningBank
from lorabank.stores import AdapterStore, StoreCounts, open_adapter_store
from lorabank.types.arrays import FloatArray, as_matrix, as_vector
from lorabank.types.checks import check_count, check_number, check_positive, check_text
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool
from lorabank.types.skill import ConsolidationCriteria

log = get_logger(__name__)


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
        fresh_for: float,
        concurrency: int,
        patience: float,
    ) -> None:
        check_count(hot_adapters, "hot_adapters", low=1)
        check_number(fresh_for, "fresh_for", low=0.0)
        check_count(concurrency, "concurrency", low=1)
        check_positive(patience, "patience")
        self._engine = engine
        self._store = store
        self._items = items
        self._clock = clock
        self._locks = KeyedLocks()
        self._adapters = Adapters(engine, store, clock, capacity=hot_adapters, fresh_for=fresh_for)
        self._queue = StoreQueue(store, self._forget_again, clock)
        self._upkeep = Upkeep(engine, store, self._queue, clock, self.consolidate)
        self._forgetter = Forgetter(
            engine, store, self._adapters, self._queue, clock, self._upkeep.rebuild
        )
        self._learner = Learner(
            engine,
            store,
            self._adapters,
            self._locks,
            clock,
            concurrency=concurrency,
            patience=patience,
            queued=self._queue.notify,
        )
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
            hot_adapters: adapters kept in memory.
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
                fresh_for=fresh_for,
                concurrency=concurrency,
                patience=patience,
            )
            try:
                if engine.has_reasoning_bank():
                    personalizer._upkeep.start(tasks, config.consolidate_every)
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

        A user without an adapter is served as a new one would be; nothing is stored.

        Raises:
            InvalidInputError: wrong dimension, NaN or infinity; or the stored adapter is of
                another space or objective than the config.
            StoreError: the store failed.
        """
        check_text(user_id, "user_id")
        inputs = as_matrix(X, "X", self._engine.config.space.dim)
        adapter = await self._adapters.to_serve(user_id, inputs.mean(axis=0))
        return adapter.transform(X)

    async def rank(
        self, user_id: str, context: ArrayLike, candidates: ArrayLike | None = None, k: int = 10
    ) -> list[Ranked]:
        """The k best candidates for a context, best first, equal ones by position.

        Args:
            user_id: whose adapter is used.
            context: (dim,).
            candidates: positions in the pool (m,), or vectors (m, dim), or None for the pool.
            k: at most this many.

        Raises:
            InvalidInputError: bad context or candidates, a negative k; or as for `transform`.
            StoreError: the store failed.
        """
        check_text(user_id, "user_id")
        vector = as_vector(context, "context", self._engine.config.space.dim)
        adapter = await self._adapters.to_serve(user_id, vector)
        return rank_candidates(adapter, vector, candidates, self._items, k)

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
    ) -> ConsolidationReport:
        """Turn episodes and the store's replay into skills. See the engine's method.

        Args:
            criteria: when a group counts; kept for the consolidations in the background. None
                means those given last, or the defaults.
            on_progress: called in the event loop after each epoch of training.

        Raises:
            BankError: no bank is connected, or it failed.
            StoreError: the store failed.
        """

        async def experiences() -> Mapping[str, Sequence[Feedback]]:
            return await self._store.experiences(self._clock.wall())

        async with self._consolidating:
            self._criteria = criteria or self._criteria
            owed = await self._store.duties("rebuild", self._clock.wall())
            report = await self._engine.consolidate_adaptation_patterns(
                self._criteria, experiences=experiences, on_progress=on_progress
            )
            for duty in owed:
                await self._store.discharge(duty)
            return report

    async def stats(self) -> tuple[EngineStats, StoreCounts]:
        """Counts of the engine since opening, and of the store."""
        return self._engine.stats(), await self._store.counts()

    async def _forget_again(self, key: str) -> None:
        await self._forgetter.forget_again(key)


@asynccontextmanager
async def _opened(store: str | AdapterStore, config: EngineConfig) -> AsyncIterator[AdapterStore]:
    """A store given by URL is opened and closed here; an instance is the caller's."""
    if isinstance(store, str):
        async with open_adapter_store(store, replay=config.replay) as opened:
            yield opened
    else:
        yield store
