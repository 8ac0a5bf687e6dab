"""Laws of what belongs to whom: answers and arguments are the caller's, records the store's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lorabank.protocols import PatternStore
from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING
from lorabank.types.skill import Skill
from lorabank_conformance.compare import assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class OwnershipLaws(Suite):
    """Ownership."""

    @law()
    async def test_answers_are_the_callers(self, store: PatternStore) -> None:
        """Protects the bank from its readers: whatever they do to an answer, the next is right.

        Lists can be changed, and arrays that are not read-only.
        """
        make = self.make
        records = [make.full_pattern("a"), make.pattern("b", make.axis(1))]
        await store.put_many(records)
        await store.put_skill(make.full_skill("s"))
        for _ in range(3):
            got = await store.get(NAMESPACE, ["a", "b"])
            scanned = await store.scan(NAMESPACE, EVERYTHING, None, 10)
            matches = await store.search(NAMESPACE, make.axis(1), 10, EVERYTHING)
            skills = await store.list_skills(NAMESPACE)
            found = sorted((match.pattern for match in matches), key=lambda p: p.id)
            for answer in (got, scanned, found):
                assert_same(answer, records)
                _spoil(pattern.context for pattern in answer)
            assert_same(skills, [make.full_skill("s")])
            _spoil(array for skill in skills for array in _arrays_of(skill))
            for several in (got, scanned, matches, skills):
                several.clear()

    @law()
    async def test_arguments_stay_as_they_are(self, store: PatternStore) -> None:
        """Protects callers: their vector and their lists are read and not written, nor kept."""
        make = self.make
        records = [make.pattern("a"), make.pattern("b", make.axis(1))]
        batch, ids, query = list(records), ["b", "a"], make.axis(2, 3.0)
        before = query.copy()
        await store.put_many(batch)
        assert batch == records
        batch.clear()
        assert_same(await store.get(NAMESPACE, ids), records[::-1])
        assert ids == ["b", "a"]
        for k in (1, 2):
            assert len(await store.search(NAMESPACE, query, k, EVERYTHING)) == k
            assert query.tobytes() == before.tobytes()
        query[:] = make.axis(1)
        matches = await store.search(NAMESPACE, query, 1, EVERYTHING)
        assert_same([match.pattern for match in matches], records[1:])

    @law()
    async def test_asked_again(self, store: PatternStore) -> None:
        """Protects against answers of yesterday: the same question is answered as things are now.

        Also by a store that remembers what it was asked.
        """
        make = self.make
        for number in range(3):
            records = [make.pattern(f"{i}", row) for i, row in enumerate(make.vectors(4, number))]
            await store.put_many(records)
            skill = make.skill("s", name=str(number))
            await store.put_skill(skill)
            for _ in range(2):
                await self._all_as(store, records, [skill])

    async def _all_as(
        self, store: PatternStore, records: Sequence[Pattern], skills: Sequence[Skill]
    ) -> None:
        matches = await store.search(NAMESPACE, self.make.axis(0), 10, EVERYTHING)
        assert_same(sorted((m.pattern for m in matches), key=lambda p: p.id), records)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 10), records)
        assert_same(await store.get(NAMESPACE, ["0", "1", "2", "3"]), records)
        assert_same(await store.list_skills(NAMESPACE), skills)
        stats = await store.stats(NAMESPACE)
        assert (stats.patterns, stats.skills) == (len(records), len(skills))


def _arrays_of(skill: Skill) -> list[FloatArray]:
    prior = [] if skill.prior is None else [skill.prior.weights.A, skill.prior.weights.B]
    return [skill.centroid, *prior]


def _spoil(arrays: Iterable[FloatArray]) -> None:
    """Write into those that can be written into."""
    for array in arrays:
        if array.flags.writeable:
            np.add(array, 1, out=array)
