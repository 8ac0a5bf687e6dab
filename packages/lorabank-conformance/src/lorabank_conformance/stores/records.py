"""Laws of records: what was stored comes back, every bit of it."""

from __future__ import annotations

import numpy as np

from lorabank.protocols import PatternStore
from lorabank.types.query import EVERYTHING
from lorabank_conformance.compare import assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class RecordLaws(Suite):
    """Round trips and reads by id."""

    @law()
    async def test_round_trip(self, store: PatternStore) -> None:
        """Protects the evidence: every field comes back, by each way of reading."""
        records = [self.make.pattern("bare"), self.make.full_pattern("full")]
        await store.put_many(records)
        assert_same(await store.get(NAMESPACE, ["bare", "full"]), records)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 10), records)
        matches = await store.search(NAMESPACE, self.make.axis(0), 10, EVERYTHING)
        found = sorted((match.pattern for match in matches), key=lambda p: p.id)
        assert_same(found, records)

    @law()
    async def test_exact_float32(self, store: PatternStore) -> None:
        """Protects contexts from rounding: float32 comes back bit by bit, whatever its size."""
        make = self.make
        rows = [make.vectors(1, seed=31)[0]]
        if not self.space.normalised:
            sizes = (1e-45, 1.2e-38, 1e-7, 16_777_217.0, 3.4e38, -0.0)
            rows += [make.vectors(1, seed=32)[0] * 0 + np.float32(size) for size in sizes]
        patterns = [make.pattern(f"v{i}", row) for i, row in enumerate(rows)]
        await store.put_many(patterns)
        assert_same(await store.get(NAMESPACE, [p.id for p in patterns]), patterns)

    @law()
    async def test_get_order(self, store: PatternStore) -> None:
        """Protects callers that pair ids with answers: in the order asked for, unknown left out."""
        await store.put_many([self.make.pattern(i) for i in "abcd"])
        found = await store.get(NAMESPACE, ["d", "unknown", "a", "c"])
        assert [pattern.id for pattern in found] == ["d", "a", "c"]
        assert await store.get(NAMESPACE, []) == []
        assert await store.get(NAMESPACE, ["unknown"]) == []

    @law()
    async def test_get_many_ids(self, store: PatternStore) -> None:
        """Protects long reads: thousands of ids at once are no reason to fail."""
        patterns = [self.make.pattern(f"{i:04}") for i in range(1500)]
        await store.put_many(patterns)
        ids = [f"{i:04}" for i in range(40_000)]
        assert_same(await store.get(NAMESPACE, ids[::-1]), patterns[::-1])

    @law()
    async def test_stats_count(self, store: PatternStore) -> None:
        """Protects monitoring: counts are those of the namespace, and bytes is a size or None."""
        make = self.make
        assert (await store.stats(NAMESPACE)).patterns == 0
        await store.put_many([make.pattern(i) for i in "abc"])
        await store.put_many([make.pattern("c"), make.pattern("d", namespace="other")])
        await store.put_skill(make.skill("s"))
        await store.put_skill(make.skill("s"))
        stats = await store.stats(NAMESPACE)
        assert (stats.patterns, stats.skills) == (3, 1)
        assert stats.bytes is None or stats.bytes >= 0
        other = await store.stats("other")
        assert (other.patterns, other.skills) == (1, 0)
