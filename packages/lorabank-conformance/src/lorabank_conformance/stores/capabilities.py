"""Laws of capabilities: declared equals implemented."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lorabank.errors import CapabilityError
from lorabank.protocols import (
    Capability,
    JointSearch,
    PatternStore,
    Refusal,
    TrialSearch,
    Wanted,
)
from lorabank.types.arrays import FloatArray
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ArmOutcome, TrialOutcome
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.trials import Trials
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class CapabilityLaws(Suite):
    """Capabilities."""

    @law(prepared=False)
    async def test_is_a_store(self, store: PatternStore) -> None:
        """Protects callers that check: the object has every method, and capabilities are a set."""
        assert isinstance(store, PatternStore)
        assert isinstance(store.capabilities, frozenset)
        assert all(isinstance(capability, Capability) for capability in store.capabilities)

    @law()
    async def test_delete_as_declared(self, store: PatternStore) -> None:
        """Protects `forget`: a store that can't delete says so, and one that says it can, does."""
        await store.put_many([self.make.pattern("a")])
        if Capability.DELETE in store.capabilities:
            assert await store.delete(NAMESPACE, EVERYTHING) == 1
            assert await store.get(NAMESPACE, ["a"]) == []
            return
        with pytest.raises(CapabilityError):
            await store.delete(NAMESPACE, EVERYTHING)
        assert len(await store.get(NAMESPACE, ["a"])) == 1

    @law()
    async def test_delete_skill_as_declared(self, store: PatternStore) -> None:
        """Protects `forget` likewise, for skills."""
        await store.put_skill(self.make.skill("s"))
        if Capability.DELETE_SKILL in store.capabilities:
            assert await store.delete_skill(NAMESPACE, "s") is True
            assert await store.list_skills(NAMESPACE) == []
            return
        with pytest.raises(CapabilityError):
            await store.delete_skill(NAMESPACE, "s")
        assert len(await store.list_skills(NAMESPACE)) == 1

    @law()
    async def test_trials_as_declared(self, store: PatternStore) -> None:
        """Protects what is learned: trials as columns are those of the patterns that search finds.

        Also after a replacement and a deletion, and with every condition of a filter.
        """
        declared = Capability.TRIALS in store.capabilities
        assert declared == isinstance(store, TrialSearch)
        if not isinstance(store, TrialSearch):
            return
        make = self.make
        patterns = [
            make.pattern(f"p{i:02}", row, user_key=f"user-{i % 4}", trial=_trial(i))
            for i, row in enumerate(make.vectors(40, seed=21))
        ]
        await store.put_many(patterns)
        await self._trials_agree(store)
        replaced = [
            make.pattern(f"p{i:02}", user_key="other", trial=_trial(number))
            for i, number in enumerate((7, 8, 9))  # of 9 there is none
        ]
        await store.put_many(replaced)
        await self._trials_agree(store)
        if Capability.DELETE in store.capabilities:
            await store.delete(NAMESPACE, PatternFilter(user_key="user-2"))
            await self._trials_agree(store)

    async def _trials_agree(self, store: PatternStore) -> None:
        assert isinstance(store, TrialSearch)
        wheres = (EVERYTHING, PatternFilter(exclude_user_key="user-1"), PatternFilter(rank=10**6))
        for where in wheres:
            for k in (0, 3, 1000):
                query = self.make.axis(1)
                matches = await store.search(NAMESPACE, query, k, replace(where, has_trial=True))
                expected = Trials.of_matches(matches)
                found = await store.search_trials(NAMESPACE, query, k, where)
                assert list(found.ids) == list(expected.ids)
                assert _plain(found) == _plain(expected)
                if isinstance(store, JointSearch):
                    await _joint_agrees(store, query, Wanted(k, where), found)

    @law(prepared=False)
    async def test_refuse_as_declared(self, store: PatternStore) -> None:
        """Protects `forget` from a promise that nobody keeps, or asks for."""
        assert (Capability.REFUSE in store.capabilities) == isinstance(store, Refusal)

    @law(reopens=True)
    async def test_durable_as_declared(self, opener: Opener) -> None:
        """Protects operators: what was written is there after opening again just if it says so."""
        async with self.opened(opener) as store:
            durable = Capability.DURABLE in store.capabilities
            await store.put_many([self.make.pattern("a")])
            await store.put_skill(self.make.skill("s"))
        async with self.opened(opener) as store:
            stats = await store.stats(NAMESPACE)
            found = len(await store.get(NAMESPACE, ["a"]))
        expected = (1, 1, 1) if durable else (0, 0, 0)
        assert (found, stats.patterns, stats.skills) == expected


async def _joint_agrees(
    store: JointSearch, query: FloatArray, wanted: Wanted, trials: Trials
) -> None:
    """Protects hints: both searches in one go find what each finds by itself."""
    assert isinstance(store, PatternStore)
    asked = Wanted(2, EVERYTHING)
    matches, found = await store.search_joint(NAMESPACE, query, asked, wanted, lambda *both: both)
    alone = await store.search(NAMESPACE, query, asked.k, asked.where)
    assert [(m.pattern.id, m.score) for m in matches] == [(m.pattern.id, m.score) for m in alone]
    assert list(found.ids) == list(trials.ids)
    assert _plain(found) == _plain(trials)


def _trial(number: int) -> TrialOutcome | None:
    """None for every third; else around one of two settings, with none to three arms."""
    if number % 3 == 0:
        return None
    kinds = [("steps", 2.0), ("learning_rate", 0.5), ("learning_rate", 2.0)]
    arms = [ArmOutcome(*kind, 0.1 * number + i) for i, kind in enumerate(kinds[: number % 4])]
    defaults = Hyperparameters(steps=1 + number % 2)
    return TrialOutcome(0.3 * number, 0.4, 0.5, updates=4, arms=tuple(arms), defaults=defaults)


def _plain(trials: Trials) -> list[object]:
    """Trials without the numbers that stand for settings and arms, which are a store's own."""
    facts = trials.facts
    settings = [trials.settings[number] for number in facts["defaults"].tolist()]
    others = [name for name in facts.dtype.names or () if name != "defaults"]
    arms = [trials.choices[number] for number in trials.arm.tolist()]
    return [settings, *(facts[name].tolist() for name in others), arms, trials.loss.tolist()]
