"""`Personalizer`: learn, transform, rank and forget by user id, over a store and a bank."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from numpy.typing import ArrayLike

from lorabank.clock import Clock
from lorabank.config import MEBIBYTE, EngineConfig
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.engine import EngineStats, UpdateReport
from lorabank.experts import ExpertWeights
from lorabank.personalizer.limits import Limits
from lorabank.personalizer.many import ManyUpdates
from lorabank.personalizer.ranking import Ranked
from lorabank.personalizer.receipt import ForgetReceipt
from lorabank.personalizer.selection import Selection
from lorabank.personalizer.wiring import Parts, opened
from lorabank.population.recorder import OnPopulationProgress
from lorabank.protocols import ReasoningBank
from lorabank.stores import AdapterStore, StoreCounts
from lorabank.types.arrays import FloatArray
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool
from lorabank.types.skill import ConsolidationCriteria


class Personalizer:
    """The facade over an engine, an adapter store and a bank. Use `Personalizer.open`.

    Updates of one user run one at a time, in order; different users run side by side. When
    `learn` returns, the new adapter and its finished episode are in the store, together.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

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
        limits = Limits(hot_adapters, hot_bytes, fresh_for, concurrency, patience)
        async with opened(config, store, bank, items, clock or Clock(), limits) as parts:
            yield cls(parts)

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
        return await self._parts.learner.learn(user_id, feedback)

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
        return await self._parts.serving.transform(user_id, X)

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
        return await self._parts.serving.rank(user_id, context, candidates, k, recent)

    async def forget(self, user_id: str) -> ForgetReceipt:
        """Remove everything of a user, look whether it is gone, and say so.

        The user's turn is waited for. Episodes made up to this moment are refused from now on,
        also if they arrive late. Skills that the user is in are removed, and rebuilt from the
        others in the background. Without a receipt, do it again: it is never too often.

        Raises:
            StoreError: the store failed; do it again.
            BankError: the bank failed; the store's part is done; do it again.
        """
        return await self._parts.forgetter.forget(user_id)

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
        run = self._parts.consolidator.consolidate
        return await run(criteria, on_progress, on_population)

    async def update_many(self, feedback: Mapping[str, Feedback]) -> ManyUpdates:
        """`learn` for many users, each committed as there; commits share the store's transactions.

        Users are independent: a feedback that can't be learned, or a fault of the store, changes
        nothing for its own user and is told in ``failed``. If this is cancelled, each user's
        feedback was learned entirely or not at all.

        Raises:
            InvalidInputError: something is not a user id with a `Feedback` of the right dimension;
                nothing was changed for anybody.
        """
        return await self._parts.many.update(feedback)

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
        return await self._parts.serving.forward_many(users, X, out)

    async def expert_weights(self, user_id: str) -> ExpertWeights | None:
        """How far each expert of the population is trusted with a user; None without one.

        Raises:
            StoreError: the store failed.
        """
        return await self._parts.serving.expert_weights(user_id)

    async def item_vectors(self) -> FloatArray:
        """The items as `transform` expects them in an index: float32 (N, dim), read-only.

        Their embeddings, plus what the population has learned about each. They change with every
        consolidation.

        Raises:
            InvalidInputError: opened without ``items``.
            StoreError: the store failed.
        """
        return await self._parts.serving.item_vectors()

    async def stats(self) -> tuple[EngineStats, StoreCounts]:
        """Counts since opening, and what the store holds now.

        ``delivered`` is what this process has given to the bank, whoever learned it; ``waiting``,
        ``dead`` and ``replay_bytes`` are the store's. ``rejected`` and ``replay_users`` stay 0.
        """
        counts = await self._parts.store.counts()
        since = replace(
            self._parts.engine.stats(),
            delivered=self._parts.queue.delivered_count,
            waiting=counts.queued,
            dead=counts.dead,
            replay_bytes=counts.experience_bytes,
        )
        return since, counts
