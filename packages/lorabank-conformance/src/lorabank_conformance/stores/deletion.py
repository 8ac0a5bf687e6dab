"""Laws of deletion: what is deleted is gone, by every way of looking, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lorabank.protocols import Capability, PatternStore
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_conformance.compare import assert_ranking, assert_same
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE, outcome
from lorabank_conformance.stores.filters import edge_filters, random_pattern
from lorabank_conformance.suite import Suite


class DeletionLaws(Suite):
    """Deletion."""

    @law(Capability.DELETE)
    async def test_delete_is_gone(self, store: PatternStore) -> None:
        """Protects the right to be forgotten: get, search, scan and stats find nothing any more."""
        make = self.make
        rows = make.vectors(60, seed=61)
        patterns = [
            make.pattern(f"p{i:02}", row, user_key=f"u{i % 3}") for i, row in enumerate(rows)
        ]
        await store.put_many(patterns)
        gone = PatternFilter(user_key="u1")
        # The very questions of below, in case that the store remembers its answers.
        assert len(await store.search(NAMESPACE, rows[1], 100, EVERYTHING)) == 60
        assert len(await store.search(NAMESPACE, rows[1], 100, gone)) == 20
        assert await store.delete(NAMESPACE, gone) == 20
        rest = [pattern for pattern in patterns if pattern.user_key != "u1"]
        assert_same(await store.get(NAMESPACE, [p.id for p in patterns]), rest)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), rest)
        assert_ranking(await store.search(NAMESPACE, rows[1], 100, EVERYTHING), rest, rows[1], 100)
        assert await store.search(NAMESPACE, rows[1], 100, gone) == []
        assert (await store.stats(NAMESPACE)).patterns == 40
        assert await store.delete(NAMESPACE, gone) == 0

    @law(Capability.DELETE)
    async def test_delete_only_passing(self, store: PatternStore) -> None:
        """Protects everyone else: a delete removes exactly what its filter passes."""
        make = self.make
        patterns = [make.pattern(f"p{i}", outcome=outcome(i / 10)) for i in range(10)]
        patterns += [make.pattern("q-pending"), make.pattern("r-bob", user_key="bob")]
        await store.put_many(patterns)
        where = PatternFilter(min_reward=0.5, exclude_user_key="bob")
        assert await store.delete(NAMESPACE, where) == 5
        rest = [pattern for pattern in patterns if not where.matches(pattern)]
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), rest)

    @law(Capability.DELETE)
    async def test_delete_meaning(self, store: PatternStore) -> None:
        """Protects everyone else likewise: by each condition, as PatternFilter.matches has it."""
        make, rng = self.make, np.random.default_rng(62)
        patterns = [random_pattern(make, i, rng) for i in range(30)]
        for number, where in enumerate(edge_filters()):
            namespace = f"filter {number}"
            own = [replace(pattern, namespace=namespace) for pattern in patterns]
            await store.put_many(own)
            rest = [pattern for pattern in own if not where.matches(pattern)]
            assert await store.delete(namespace, where) == len(own) - len(rest), where
            assert_same(await store.scan(namespace, EVERYTHING, None, 100), rest)

    @law(Capability.DELETE)
    async def test_delete_then_put(self, store: PatternStore) -> None:
        """Protects ids that come back: after a delete the same id can be stored anew."""
        make = self.make
        await store.put_many([make.pattern(i, make.axis(0), task="old") for i in "abc"])
        assert await store.delete(NAMESPACE, EVERYTHING) == 3
        assert await store.search(NAMESPACE, make.axis(0), 5, EVERYTHING) == []
        new = [make.pattern("b", make.axis(1), task="new")]
        await store.put_many(new)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 10), new)
        matches = await store.search(NAMESPACE, make.axis(1), 5, EVERYTHING)
        assert_ranking(matches, new, make.axis(1), 5)

    @law(Capability.DELETE)
    async def test_delete_keeps_skills(self, store: PatternStore) -> None:
        """Protects skills: deleting every pattern deletes no skill of the same id."""
        await store.put_many([self.make.pattern("same")])
        await store.put_skill(self.make.skill("same"))
        assert await store.delete(NAMESPACE, EVERYTHING) == 1
        assert [skill.id for skill in await store.list_skills(NAMESPACE)] == ["same"]

    @law(Capability.DELETE, Capability.DURABLE, reopens=True)
    async def test_delete_survives_reopen(self, opener: Opener) -> None:
        """Protects against what comes back: deleted is deleted after opening again, too."""
        make, query = self.make, self.make.axis(0)
        patterns = [make.pattern(f"p{i}", user_key=f"u{i % 2}") for i in range(10)]
        rest = [pattern for pattern in patterns if pattern.user_key == "u1"]
        async with self.opened(opener) as store:
            await store.put_many(patterns)
        async with self.opened(opener) as store:
            assert await store.delete(NAMESPACE, PatternFilter(user_key="u0")) == 5
        for _ in range(2):
            async with self.opened(opener) as store:
                assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), rest)
                found = await store.search(NAMESPACE, query, 100, EVERYTHING)
                assert_ranking(found, rest, query, 100)
                assert await store.get(NAMESPACE, ["p0"]) == []
                assert (await store.stats(NAMESPACE)).patterns == 5
