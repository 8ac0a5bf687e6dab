"""`StandardBank`: the reasoning of a bank over any pattern store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import anyio

from lorabank.bank.asking import Together
from lorabank.errors import EmbeddingSpaceError, InvalidInputError
from lorabank.hints import render_strategy
from lorabank.protocols import (
    Capability,
    Embedder,
    JointSearch,
    PatternStore,
    Refusal,
    StoreStats,
    TrialSearch,
    Wanted,
)
from lorabank.skills import Episodes, EpisodeWriter, consolidate, inherit_priors, superseded
from lorabank.strategy import EVIDENCE_LIMIT, evidence_filter, learn
from lorabank.turns import in_worker
from lorabank.types.arrays import FloatArray, as_matrix
from lorabank.types.checks import check_number, check_text
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import Consolidation, ConsolidationCriteria, Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.strategy import Strategy
from lorabank.types.trials import Trials

# Patterns that are objects at once: few enough for the collector of cycles not to notice.
_PAGE = 256
# Trials whose effects are worked out in less time than a worker thread takes to start.
FEW_TRIALS = 8


class StandardBank:
    """A `ReasoningBank` over a `PatternStore`. It does not close the store: who opened it does.

    Args:
        store: where patterns and skills live.
        embedder: embeds queries of text alone; without one they are refused.
        clock: unix seconds.

    Raises: EmbeddingSpaceError if store and embedder do not agree.
    """

    def __init__(
        self,
        store: PatternStore,
        *,
        embedder: Embedder | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._clock = clock
        self._generation = 0
        self._limiter = anyio.CapacityLimiter(1)
        self._together: Together[list[Match]] = Together()
        if store.space is not None:
            self._check_embedder(store.space)

    @property
    def store(self) -> PatternStore:
        """Where patterns and skills live."""
        return self._store

    @property
    def generation(self) -> int:
        """See `ReasoningBank.generation`. Counts what went through this object."""
        return self._generation

    @property
    def space(self) -> EmbeddingSpace | None:
        """See `ReasoningBank.space`."""
        return self._store.space

    async def bind(self, space: EmbeddingSpace) -> None:
        """See `ReasoningBank.bind`."""
        self._check_embedder(space)
        await self._store.bind(space)

    async def store_pattern(self, pattern: Pattern) -> None:
        """See `ReasoningBank.store_pattern`."""
        await self._store.put_many([pattern])

    async def store_patterns(self, patterns: Sequence[Pattern]) -> None:
        """See `ReasoningBank.store_patterns`."""
        await self._store.put_many(patterns)

    async def retrieve_patterns(self, query: Query) -> list[Match]:
        """See `ReasoningBank.retrieve_patterns`."""
        return list(await self._together.ask(query, lambda: self._found(query)))

    async def learn_strategy(self, query: Query) -> Strategy:
        """See `ReasoningBank.learn_strategy`.

        Evidence is the `EVIDENCE_LIMIT` trials nearest to the query that pass its filter,
        conditions on the outcome and the asker's own trials left out. Name an objective in the
        filter: effects of different objectives should not be mixed.
        """
        # An engine asks for the patterns of the same query at the same time: one search for both.
        if isinstance(self._store, JointSearch):
            async with self._together.asking(query) as asked:
                strategy = await self._learned(self._store, query)
                asked.answer = list(strategy.patterns)
            return strategy
        joined = self._together.joined(query)
        if joined is None:
            matches = await self._together.ask(query, lambda: self._found(query))
        evidence = await self._evidence(query)
        if joined is not None:
            matches = await joined.or_else(lambda: self._found(query))
        if len(evidence) <= FEW_TRIALS:
            return _advise(matches, evidence, query)
        # Some milliseconds for hundreds of trials: too long for the event loop.
        return await in_worker(
            _advise,
            matches,
            evidence,
            query,
            limiter=self._limiter,
            abandon_on_cancel=True,
        )

    async def auto_consolidate(
        self, namespace: str, criteria: ConsolidationCriteria
    ) -> Consolidation:
        """See `ReasoningBank.auto_consolidate`.

        A stored skill keeps the prior weights of its predecessor (the earlier skill for the same
        region). Earlier results without weights that no longer pass are removed if the store can.

        Raises: InvalidInputError if there are episodes but no space was bound.
        """
        now = self._clock()
        episodes = await self._scored(namespace, since=now - criteria.look_back)
        if not len(episodes):
            return Consolidation((), 0)
        if self.space is None:
            raise InvalidInputError("space", None, "a bank that is bound to an embedding space")
        skills = await in_worker(
            consolidate,
            episodes,
            self.space,
            namespace,
            criteria,
            now,
            limiter=self._limiter,
            abandon_on_cancel=True,
        )
        await self._keep(namespace, skills)
        return Consolidation(skills, len(episodes))

    async def skills(self, namespace: str) -> list[Skill]:
        """See `ReasoningBank.skills`."""
        return await self._store.list_skills(namespace)

    async def put_skill(self, skill: Skill) -> None:
        """See `ReasoningBank.put_skill`. Binds the bank to the skill's space if it has none.

        Raises: EmbeddingSpaceError if the bank holds another space.
        """
        if skill.space != self.space:
            await self.bind(skill.space)
        try:
            await self._store.put_skill(skill)
        finally:  # also if cancelled: it may have been written
            self._generation += 1

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        """See `ReasoningBank.delete_skill`."""
        try:
            return await self._store.delete_skill(namespace, skill_id)
        finally:
            self._generation += 1

    async def forget(self, namespace: str, user_key: str) -> int:
        """See `ReasoningBank.forget`. After a fault or a cancellation, do it again.

        Raises:
            InvalidInputError: an empty key.
            CapabilityError: the store can't delete.
        """
        check_text(namespace, "namespace")
        check_text(user_key, "user_key")  # a filter without a key would match everyone
        try:
            for skill in await self._store.list_skills(namespace):
                if user_key in skill.user_keys:
                    await self._store.delete_skill(namespace, skill.id)
            return await self._store.delete(namespace, PatternFilter(user_key=user_key))
        finally:
            self._generation += 1

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        """See `Refusal.refuse`. Nothing happens if the store does not declare REFUSE.

        Raises: InvalidInputError: an empty key, or no time.
        """
        check_text(namespace, "namespace")
        check_text(user_key, "user_key")
        check_number(until, "until", low=0.0)
        store = self._store
        if Capability.REFUSE in store.capabilities and isinstance(store, Refusal):
            await store.refuse(namespace, user_key, until)

    async def stats(self, namespace: str) -> StoreStats:
        """See `ReasoningBank.stats`."""
        return await self._store.stats(namespace)

    async def _found(self, query: Query) -> list[Match]:
        vector = await self._vector(query)
        return await self._store.search(query.namespace, vector, query.k, query.where)

    async def _learned(self, store: JointSearch, query: Query) -> Strategy:
        """Search and statistics, some milliseconds, in one worker thread."""
        vector = await self._vector(query)
        trials = Wanted(EVIDENCE_LIMIT, evidence_filter(query.where, query.asker))
        conclude = partial(_advise, query=query)
        return await store.search_joint(
            query.namespace, vector, Wanted(query.k, query.where), trials, conclude
        )

    async def _evidence(self, query: Query) -> Trials:
        vector = await self._vector(query)
        store, namespace = self._store, query.namespace
        where = evidence_filter(query.where, query.asker)
        if Capability.TRIALS in store.capabilities and isinstance(store, TrialSearch):
            return await store.search_trials(namespace, vector, EVIDENCE_LIMIT, where)
        matches = await store.search(namespace, vector, EVIDENCE_LIMIT, where)
        if len(matches) <= FEW_TRIALS:
            return Trials.of_matches(matches)
        return await in_worker(
            Trials.of_matches, matches, limiter=self._limiter, abandon_on_cancel=True
        )

    async def _vector(self, query: Query) -> FloatArray:
        if query.context is not None:
            return query.context
        if self._embedder is None:
            raise InvalidInputError("query.context", None, "a vector: this bank has no embedder")
        vectors = await self._embedder.embed([query.task or ""])
        vector: FloatArray = as_matrix(vectors, "embedding")[0]
        return vector

    async def _scored(self, namespace: str, since: float) -> Episodes:
        """All episodes with an outcome since then, read in pages."""
        # A reward of at least 0 is any outcome at all.
        where = PatternFilter(since=since, min_reward=0.0)
        writer, after = EpisodeWriter(), None
        while page := await self._store.scan(namespace, where, after, _PAGE):
            await in_worker(writer.add, page, limiter=self._limiter)
            after = page[-1].id
        return await in_worker(writer.done, limiter=self._limiter)

    async def _keep(self, namespace: str, skills: Sequence[Skill]) -> None:
        """Store what passed, and retire what it supersedes."""
        earlier = await self._store.list_skills(namespace)
        passed = inherit_priors([skill for skill in skills if skill.passed], earlier)
        for skill in passed:
            await self.put_skill(skill)
        if Capability.DELETE_SKILL in self._store.capabilities:
            for skill_id in superseded(skills, passed, earlier):
                await self.delete_skill(namespace, skill_id)

    def _check_embedder(self, space: EmbeddingSpace) -> None:
        if self._embedder is not None and self._embedder.space != space:
            raise EmbeddingSpaceError(f"the embedder makes {self._embedder.space}, not {space}")


def _advise(matches: Sequence[Match], evidence: Trials, query: Query) -> Strategy:
    strategy = learn(matches, evidence, query.defaults, half_life=query.half_life)
    return replace(strategy, recommendation=render_strategy(strategy))
