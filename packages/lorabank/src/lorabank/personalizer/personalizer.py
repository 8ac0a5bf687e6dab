"""`Personalizer`: learn, transform, rank and forget by user id, over a store and a bank."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup
from numpy.typing import ArrayLike

from lorabank.adaptation.preparation import context_of
from lorabank.adapter import Adapter
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.engine import EngineStats, LoRAPersonalizationEngine, UpdateReport
from lorabank.errors import (
    InvalidInputError,
    StoreUnavailableError,
    VersionConflictError,
)
from lorabank.logs import get_logger
from lorabank.personalizer.courier import StoreQueue
from lorabank.personalizer.forgetting import forget_in_bank, is_gone_from_bank
from lorabank.personalizer.hot import Hot, HotAdapters
from lorabank.personalizer.locks import KeyedLocks
from lorabank.personalizer.ranking import Ranked, rank_candidates
from lorabank.personalizer.receipt import ForgetReceipt
from lorabank.protocols import ReasoningBank
from lorabank.stores import AdapterStore, Change, Experience, StoreCounts, open_adapter_store
from lorabank.types.arrays import FloatArray, as_matrix, as_vector
from lorabank.types.checks import check_text
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import user_key
from lorabank.types.items import ItemPool
from lorabank.types.pattern import Pattern
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
        concurrency: int,
        patience: float,
    ) -> None:
        self._engine = engine
        self._store = store
        self._items = items
        self._clock = clock
        self._hot = HotAdapters(hot_adapters)
        self._locks = KeyedLocks()
        self._admission = anyio.CapacityLimiter(concurrency)
        self._patience = patience
        self._queue = StoreQueue(store, self._forget_again)
        self._rebuild = anyio.Event()

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
            concurrency: updates under way at once; more callers wait for their turn.
            patience: seconds that `learn` waits for its turn and for other writers, at most.

        Raises:
            InvalidInputError: a URL that is none.
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
        async with _opened(store, config) as opened, engine, anyio.create_task_group() as tasks:
            personalizer = cls(
                engine,
                opened,
                items,
                clock,
                hot_adapters=hot_adapters,
                concurrency=concurrency,
                patience=patience,
            )
            personalizer._start(tasks, config.consolidate_every)
            try:
                yield personalizer
            finally:
                await personalizer._drain()
                tasks.cancel_scope.cancel()

    # ---- what applications call -----------------------------------------------------------

    async def learn(self, user_id: str, feedback: Feedback) -> UpdateReport:
        """Learn from feedback. What this returns from is stored, and survives the process.

        If another process changed the adapter meanwhile, the update is computed again on the
        fresh one, so no update is lost and none is counted twice.

        Raises:
            InvalidInputError: the feedback; nothing was changed.
            StoreUnavailableError: no turn, or no success against other writers, within patience.
            StoreError: the store failed; nothing was changed.
        """
        if not isinstance(feedback, Feedback):
            raise InvalidInputError("feedback", feedback, "a Feedback")
        try:
            with anyio.fail_after(self._patience):
                async with self._locks.hold(user_id), self._admission:
                    return await self._learn(user_id, feedback)
        except TimeoutError as exc:
            raise StoreUnavailableError(
                f"no turn within {self._patience:g} s: callers outrun this machine; "
                "send fewer at once, or raise 'patience'"
            ) from exc

    async def transform(self, user_id: str, X: ArrayLike) -> FloatArray:
        """The user's view of embeddings (dim,) or (n, dim), float32 of the same shape.

        A user without an adapter is served as a new one would be; nothing is stored.

        Raises:
            InvalidInputError: wrong dimension, NaN or infinity.
        """
        inputs = as_matrix(X, "X", self._engine.config.space.dim)
        hot = await self._adapter(user_id, inputs.mean(axis=0))
        return hot.adapter.transform(X)

    async def rank(
        self, user_id: str, context: ArrayLike, candidates: ArrayLike | None = None, k: int = 10
    ) -> list[Ranked]:
        """The k best candidates for a context, best first.

        Args:
            user_id: whose adapter is used.
            context: (dim,).
            candidates: positions in the pool (m,), or vectors (m, dim), or None for the pool.
            k: at most this many.

        Raises:
            InvalidInputError: bad context or candidates, a negative k.
        """
        vector = as_vector(context, "context", self._engine.config.space.dim)
        hot = await self._adapter(user_id, vector)
        return rank_candidates(hot.adapter, vector, candidates, self._items, k)

    async def forget(self, user_id: str) -> ForgetReceipt:
        """Remove everything of a user, look whether it is gone, and say so.

        The user's turn is waited for. Episodes made before this moment are refused from now on,
        also if they arrive late. Skills that the user is in are removed, and rebuilt from the
        others in the background.

        Raises:
            StoreError: the store failed; do it again.
            BankError: the bank failed; the store's part is done; do it again.
        """
        check_text(user_id, "user_id")
        key = user_key(user_id, self._engine.config.user_key_secret)
        async with self._locks.hold(user_id):
            self._hot.drop(user_id)
            removed = await self._store.forget(user_id, key, self._clock.wall())
            patterns, skills = await forget_in_bank(self._engine, user_id, key)
            remaining = await self._store.remains(user_id, key)
            gone = await is_gone_from_bank(self._engine, key)
        if skills:
            self._rebuild.set()
        self._queue.notify()
        verified = remaining.total == 0 and gone
        return ForgetReceipt(key, removed, patterns, skills, remaining, verified)

    async def consolidate(
        self,
        criteria: ConsolidationCriteria | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> ConsolidationReport:
        """Turn episodes and the store's replay into skills. See the engine's method.

        Raises:
            BankError: no bank is connected, or it failed.
        """
        experiences = await self._store.experiences()
        return await self._engine.consolidate_adaptation_patterns(
            criteria, experiences=experiences, on_progress=on_progress
        )

    async def stats(self) -> tuple[EngineStats, StoreCounts]:
        """Counts of the engine since opening, and of the store."""
        return self._engine.stats(), await self._store.counts()

    # ---- inside ---------------------------------------------------------------------------

    async def _learn(self, user_id: str, feedback: Feedback) -> UpdateReport:
        while True:
            hot = await self._adapter(user_id, context_of(feedback))
            try:
                return await self._update(user_id, hot, feedback)
            except VersionConflictError:
                log.debug("adapter changed elsewhere, computing the update again")

    async def _update(self, user_id: str, hot: Hot, feedback: Feedback) -> UpdateReport:
        key = user_key(user_id, self._engine.config.user_key_secret)

        async def commit(updated: Adapter, finished: Pattern | None) -> None:
            await self._store.commit(
                Change(
                    adapter=updated,
                    user_key=key,
                    expected=hot.adapter.version if hot.stored else None,
                    episodes=() if finished is None else (finished,),
                    experience=Experience(key, feedback, self._clock.wall()),
                )
            )

        # Until the commit has returned, what is stored is not known: read it again if it fails.
        self._hot.drop(user_id)
        adapter, report = await self._engine.update_adapter(hot.adapter, feedback, commit=commit)
        self._hot.put(user_id, Hot(adapter, stored=True))
        if report.finished is not None:
            self._queue.notify()
        return report

    async def _adapter(self, user_id: str, context: FloatArray) -> Hot:
        hot = self._hot.get(user_id)
        if hot is not None:
            return hot
        stored = await self._store.get(user_id)
        if stored is not None:
            hot = Hot(stored, stored=True)
        else:
            adapter = await self._engine.create_adapter(user_id, context=context)
            hot = Hot(adapter, stored=False)
        self._hot.put(user_id, hot)
        return hot

    async def _forget_again(self, key: str) -> None:
        """Episodes of a user who was forgotten while they were being delivered."""
        await forget_in_bank(self._engine, None, key)

    def _start(self, tasks: TaskGroup, consolidate_every: float | None) -> None:
        if self._engine.has_reasoning_bank():
            tasks.start_soon(self._deliver)
            tasks.start_soon(self._rebuild_skills)
            if consolidate_every is not None:
                tasks.start_soon(self._consolidate_periodically, consolidate_every)

    async def _deliver(self) -> None:
        """Deliver what is committed, for as long as the personalizer is open."""
        while True:
            try:
                await self._engine.deliver_from(self._queue)
            except Exception:
                log.exception("delivery stopped, it starts again")
                await self._clock.sleep(1.0)

    async def _rebuild_skills(self) -> None:
        while True:
            await self._rebuild.wait()
            self._rebuild = anyio.Event()
            await self._consolidate_in_background()

    async def _consolidate_periodically(self, pause: float) -> None:
        while True:
            await self._clock.sleep(pause)
            await self._consolidate_in_background()

    async def _consolidate_in_background(self) -> None:
        try:
            await self.consolidate()
        except Exception:
            log.exception("consolidation failed")

    async def _drain(self) -> None:
        """Give the bank what it will still take; the rest stays in the store."""
        if not self._engine.has_reasoning_bank():
            return
        with anyio.move_on_after(self._engine.config.outbox.drain, shield=True):
            await self._queue.emptied()


@asynccontextmanager
async def _opened(store: str | AdapterStore, config: EngineConfig) -> AsyncIterator[AdapterStore]:
    """A store given by URL is opened and closed here; an instance is the caller's."""
    if isinstance(store, str):
        async with open_adapter_store(store, replay=config.replay) as opened:
            yield opened
    else:
        yield store
