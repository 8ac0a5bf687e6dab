"""Laws of search: which patterns, in which order, with which scores."""

from __future__ import annotations

import numpy as np
import pytest

from lorabank.errors import InvalidInputError
from lorabank.protocols import PatternStore
from lorabank.types.query import EVERYTHING
from lorabank_conformance.compare import assert_ranking
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class RankingLaws(Suite):
    """Search."""

    @law()
    async def test_search_order(self, store: PatternStore) -> None:
        """Protects against distances sold as similarities: the nearest comes first, scored 1."""
        make = self.make
        opposite, across, alike = make.axis(0, -1.0), make.axis(1), make.axis(0)
        near = alike * np.float32(0.8) + across * np.float32(0.6)
        contexts = {"a": opposite, "b": across, "c": near, "d": alike}
        await store.put_many([make.pattern(i, context) for i, context in contexts.items()])
        matches = await store.search(NAMESPACE, alike, 4, EVERYTHING)
        assert [match.pattern.id for match in matches] == ["d", "c", "b", "a"]
        scores = [match.score for match in matches]
        assert scores == pytest.approx([1.0, 0.8, 0.0, -1.0], abs=1e-5)

    @law()
    async def test_search_exact(self, store: PatternStore) -> None:
        """Protects against missing neighbours and rough scores in a small bank: cosine, exactly."""
        make = self.make
        patterns = [
            make.pattern(f"p{i:03}", row) for i, row in enumerate(make.vectors(300, seed=1))
        ]
        await store.put_many(patterns)
        for query in make.vectors(5, seed=2):
            for k in (1, 10, 300):
                matches = await store.search(NAMESPACE, query, k, EVERYTHING)
                assert_ranking(matches, patterns, query, k)

    @law()
    async def test_search_any_length(self, store: PatternStore) -> None:
        """Protects contexts of any length: norms that overflow or vanish in float32 still count.

        A score is never beyond [-1, 1], not even by a rounding error.
        """
        make = self.make
        row = make.vectors(1, seed=3)[0]
        lengths = {"giant": 1e30, "large": 1e8, "one": 1.0, "small": 1e-8, "tiny": 1e-30}
        patterns = [make.pattern(i, row * np.float32(by)) for i, by in lengths.items()]
        patterns += [make.pattern("opposite", -row), make.pattern("other", make.axis(2))]
        await store.put_many(patterns)
        for by in lengths.values():
            query = row * np.float32(by)
            assert_ranking(await store.search(NAMESPACE, query, 7, EVERYTHING), patterns, query, 7)

    @law()
    async def test_zero_vectors(self, store: PatternStore) -> None:
        """Protects against NaN scores: a zero vector is as similar to everything as 0 says."""
        make = self.make
        patterns = [make.pattern("zero", make.axis(0, 0.0)), make.pattern("one", make.axis(0))]
        await store.put_many(patterns)
        for query in (make.axis(0), make.axis(0, 0.0)):
            assert_ranking(await store.search(NAMESPACE, query, 2, EVERYTHING), patterns, query, 2)

    @law()
    async def test_tie_order(self, store: PatternStore) -> None:
        """Protects repeatable answers: equal contexts have equal scores, ordered by id.

        Also at the boundary of k, whatever the order they were stored in; ids are compared by
        code point, as Python does.
        """
        make = self.make
        row = make.vectors(1, seed=4)[0]
        ids = [f"t{i:02}" for i in range(40)] + ["T", "\uffff", "\U0001f600", "\xe9", "e"]
        shuffled = [ids[i] for i in np.random.default_rng(5).permutation(len(ids))]
        crowd = [make.pattern(f"x{i}", v) for i, v in enumerate(make.vectors(60, seed=6))]
        far = [p for p in crowd if float(p.context @ row) < 0]
        await store.put_many([*far, *(make.pattern(i, row) for i in shuffled)])
        for k in (1, 7, len(ids)):
            matches = await store.search(NAMESPACE, row, k, EVERYTHING)
            assert [match.pattern.id for match in matches] == sorted(ids)[:k]
            assert len({match.score for match in matches}) == 1

    @law()
    async def test_top_k_boundaries(self, store: PatternStore) -> None:
        """Protects callers at the edges: k=0 gives nothing, k beyond the bank gives all of it."""
        make = self.make
        assert await store.search(NAMESPACE, make.axis(0), 3, EVERYTHING) == []
        patterns = [make.pattern(str(i), row) for i, row in enumerate(make.vectors(5, seed=8))]
        await store.put_many(patterns)
        for k in (0, 1, 4, 5, 6, 1_000_000):
            matches = await store.search(NAMESPACE, make.axis(0), k, EVERYTHING)
            assert_ranking(matches, patterns, make.axis(0), k)

    @law()
    async def test_negative_k_refused(self, store: PatternStore) -> None:
        """Protects against a bug in the caller that reads as "all but one"."""
        await store.put_many([self.make.pattern("a"), self.make.pattern("b")])
        for k in (-1, -100):
            with pytest.raises(InvalidInputError):
                await store.search(NAMESPACE, self.make.axis(0), k, EVERYTHING)

    @law()
    async def test_query_not_finite_refused(self, store: PatternStore) -> None:
        """Protects against an order by NaN: a query of NaN or infinity is an InvalidInputError."""
        await store.put_many([self.make.pattern("a")])
        for value in (np.nan, np.inf, -np.inf):
            with pytest.raises(InvalidInputError):
                await store.search(NAMESPACE, self.make.axis(0, value), 1, EVERYTHING)
