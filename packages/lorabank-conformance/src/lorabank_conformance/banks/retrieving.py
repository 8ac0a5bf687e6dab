"""Laws of storing and retrieving through a bank."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank.errors import EmbeddingSpaceError, InvalidInputError
from lorabank.protocols import ReasoningBank
from lorabank.types.query import PatternFilter, Query
from lorabank_conformance.compare import assert_ordered, assert_ranking, assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE, outcome
from lorabank_conformance.suite import Suite


class RetrievalLaws(Suite):
    """Storing and retrieving."""

    @law(prepared=False)
    async def test_is_a_bank(self, bank: ReasoningBank) -> None:
        """Protects callers that check: the object has every method, and a generation."""
        assert isinstance(bank, ReasoningBank)
        assert isinstance(bank.generation, int)
        assert bank.space in (None, self.space)

    @law()
    async def test_store_then_retrieve(self, bank: ReasoningBank) -> None:
        """Protects the whole point: what was stored is found at once, whole, nearest first."""
        make = self.make
        rows = make.vectors(20, seed=101)
        patterns = [make.pattern(f"p{i:02}", row) for i, row in enumerate(rows)]
        patterns.append(make.full_pattern("p99"))
        await bank.store_pattern(patterns[0])
        await bank.store_patterns(patterns[1:])
        for query in make.vectors(3, seed=102):
            matches = await bank.retrieve_patterns(Query(context=query, k=21))
            assert_ranking(matches, patterns, query, 21)
            found = sorted((match.pattern for match in matches), key=lambda p: p.id)
            assert_same(found, patterns)

    @law()
    async def test_store_idempotent(self, bank: ReasoningBank) -> None:
        """Protects delivery with retries: storing twice is storing once, the last one counts."""
        make = self.make
        for task in ("first", "second", "third"):
            await bank.store_pattern(make.pattern("a", task=task))
        matches = await bank.retrieve_patterns(Query(context=make.axis(0), k=5))
        assert [match.pattern.task for match in matches] == ["third"]
        assert (await bank.stats(NAMESPACE)).patterns == 1

    @law()
    async def test_retrieve_k_and_filter(self, bank: ReasoningBank) -> None:
        """Protects callers' limits: k, and a filter inside the search."""
        make = self.make
        best = [make.pattern(f"a{i:02}", outcome=outcome(0.9)) for i in range(50)]
        rest = [make.pattern(f"b{i}", make.axis(1), outcome=outcome(0.1)) for i in range(5)]
        await bank.store_patterns([*best, *rest, make.pattern("c", make.axis(1))])
        for k in (0, 1, 55, 1000):
            query = Query(context=make.axis(0), k=k, where=PatternFilter(min_reward=0.05))
            assert_ranking(await bank.retrieve_patterns(query), best + rest, make.axis(0), k)
        poor = PatternFilter(min_reward=0.0, until=make.pattern("x").created_at)
        assert await bank.retrieve_patterns(Query(context=make.axis(0), where=poor)) == []

    @law()
    async def test_bank_namespaces(self, bank: ReasoningBank) -> None:
        """Protects tenants: nothing of another namespace is retrieved, listed or counted."""
        make = self.make
        names = ("ours", "theirs", "it's", "%", "\U0001f600")
        for name in names:
            await bank.store_pattern(make.pattern("same", namespace=name, task=name))
            await bank.put_skill(make.skill("same", namespace=name, name=name))
        for name in names:
            matches = await bank.retrieve_patterns(Query(name, make.axis(0), k=10))
            assert [match.pattern.task for match in matches] == [name]
            assert [skill.name for skill in await bank.skills(name)] == [name]
            stats = await bank.stats(name)
            assert (stats.patterns, stats.skills) == (1, 1)

    @law()
    async def test_text_only_query(self, bank: ReasoningBank) -> None:
        """Protects against invented vectors: text alone needs an embedder of the bank's space.

        Without one it is an InvalidInputError; with one the answer is like any other.
        """
        await bank.store_pattern(self.make.pattern("a", task="films about robots"))
        query = Query(task="films about robots", k=3)
        for ask in (bank.retrieve_patterns, bank.learn_strategy):
            try:
                answer = await ask(query)
            except InvalidInputError:
                continue
            matches = answer if isinstance(answer, list) else answer.patterns
            assert_ordered(matches)
            assert [match.pattern.id for match in matches] == ["a"]

    @law()
    async def test_bank_space_refused(self, bank: ReasoningBank) -> None:
        """Protects against comparing vectors of two encoders: stored, asked with, or bound."""
        make, long = self.make, np.ones(self.space.dim + 1, np.float32)
        await bank.store_pattern(make.pattern("a"))
        await bank.bind(self.space)
        assert bank.space == self.space
        with pytest.raises(EmbeddingSpaceError):
            await bank.bind(type(self.space)("another", self.space.dim))
        with pytest.raises(EmbeddingSpaceError):
            await bank.store_patterns([make.pattern("b"), make.pattern("c", long)])
        for ask in (bank.retrieve_patterns, bank.learn_strategy):
            with pytest.raises(EmbeddingSpaceError):
                await ask(Query(context=long))
        assert (await bank.stats(NAMESPACE)).patterns == 1
