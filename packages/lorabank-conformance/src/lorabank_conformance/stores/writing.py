"""Laws of writes: idempotent, all or nothing, and visible at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lorabank.errors import EmbeddingSpaceError, InvalidInputError
from lorabank.protocols import PatternStore
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_conformance.compare import assert_ranking, assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE, Samples, outcome
from lorabank_conformance.suite import Suite


class WriteLaws(Suite):
    """Writes."""

    @law()
    async def test_put_idempotent(self, store: PatternStore) -> None:
        """Protects delivery with retries: storing twice is storing once."""
        patterns = [self.make.pattern(i, row) for i, row in zip("abc", self._rows(), strict=True)]
        for _ in range(3):
            await store.put_many(patterns)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), patterns)
        query = self.make.axis(0)
        assert_ranking(await store.search(NAMESPACE, query, 100, EVERYTHING), patterns, query, 100)
        assert (await store.stats(NAMESPACE)).patterns == 3

    @law()
    async def test_put_replaces(self, store: PatternStore) -> None:
        """Protects late outcomes: the same id replaces the record, its vector and its filters."""
        make = self.make
        await store.put_many([make.pattern("a", make.axis(0), user_key="old"), make.pattern("b")])
        new = make.pattern("a", make.axis(1), user_key="new", outcome=outcome(0.9))
        await store.put_many([new])
        assert_same(await store.get(NAMESPACE, ["a"]), [new])
        old = PatternFilter(user_key="old")
        assert await store.scan(NAMESPACE, old, None, 10) == []
        assert await store.search(NAMESPACE, make.axis(0), 10, old) == []
        matches = await store.search(NAMESPACE, make.axis(1), 10, PatternFilter(user_key="new"))
        assert_ranking(matches, [new], make.axis(1), 10)
        best = await store.search(NAMESPACE, make.axis(0), 1, EVERYTHING)
        assert [match.pattern.id for match in best] == ["b"]

    @law()
    async def test_put_last_wins(self, store: PatternStore) -> None:
        """Protects batches from an outbox: of several records with one id the last counts."""
        versions = [self.make.pattern("a", self.make.axis(i), task=str(i)) for i in range(3)]
        await store.put_many(versions)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 10), versions[-1:])
        query = self.make.axis(0)
        matches = await store.search(NAMESPACE, query, 10, EVERYTHING)
        assert_ranking(matches, versions[-1:], query, 10)

    @law()
    async def test_put_nothing(self, store: PatternStore) -> None:
        """Protects callers with an empty batch: it is no error, and changes nothing."""
        await store.put_many([])
        assert (await store.stats(NAMESPACE)).patterns == 0

    @law()
    async def test_put_atomic(self, store: PatternStore) -> None:
        """Protects against half a batch: if one record is refused, none of them is stored.

        Neither new ones, nor replacements, in whichever namespace.
        """
        make = self.make
        before = [make.pattern("old", make.axis(1), task="before")]
        await store.put_many(before)
        wrong = make.pattern("wrong", np.ones(self.space.dim + 1, np.float32))
        batch = [make.pattern("old", task="after"), make.pattern("new"), wrong]
        elsewhere = make.pattern("new", namespace="other")
        for attempt in (batch, batch[::-1], [elsewhere, *batch]):
            with pytest.raises(EmbeddingSpaceError):
                await store.put_many(attempt)
            await self._assert_untouched(store, before)

    @law()
    async def test_nan_refused(self, store: PatternStore) -> None:
        """Protects every search from one bad record: NaN and infinity are refused, all of it is.

        `Pattern` refuses them too; a caller that writes into its array afterwards gets past that.
        """
        before = [self.make.pattern("old", self.make.axis(1), task="before")]
        await store.put_many(before)
        for value in (np.nan, np.inf):
            bad = _smuggled(self.make, value)
            with pytest.raises(InvalidInputError):
                await store.put_many([self.make.pattern("new"), bad])
            await self._assert_untouched(store, before)

    @law()
    async def test_not_a_pattern_refused(self, store: PatternStore) -> None:
        """Protects against what is no pattern at all: InvalidInputError, and nothing changed."""
        before = [self.make.pattern("old", self.make.axis(1), task="before")]
        await store.put_many(before)
        for stranger in (None, {"id": "new"}, self.make.skill("new")):
            batch: list[Any] = [self.make.pattern("new"), stranger]
            with pytest.raises(InvalidInputError):
                await store.put_many(batch)
            await self._assert_untouched(store, before)

    @law()
    async def test_found_at_once(self, store: PatternStore) -> None:
        """Protects read-your-writes: what a write returned from, the next search finds."""
        make = self.make
        for number, row in enumerate(make.vectors(50, seed=41)):
            await store.put_many([make.pattern(f"p{number}", row)])
            matches = await store.search(NAMESPACE, row, 1, EVERYTHING)
            assert [match.pattern.id for match in matches] == [f"p{number}"]

    def _rows(self) -> np.ndarray:
        return self.make.vectors(3, seed=42)

    async def _assert_untouched(self, store: PatternStore, before: list[Pattern]) -> None:
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), before)
        for namespace, count in ((NAMESPACE, len(before)), ("other", 0)):
            matches = await store.search(namespace, self.make.axis(0), 100, EVERYTHING)
            stats = await store.stats(namespace)
            assert (len(matches), stats.patterns) == (count, count)


def _smuggled(make: Samples, value: float) -> Pattern:
    pattern = make.pattern("smuggled")
    object.__setattr__(pattern, "context", make.axis(0, value))
    return pattern
