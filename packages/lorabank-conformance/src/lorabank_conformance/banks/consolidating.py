"""Laws of consolidation."""

from __future__ import annotations

import math

from lorabank.protocols import ReasoningBank
from lorabank.types.skill import Consolidation, ConsolidationCriteria, Skill
from lorabank_conformance.banks.evidence import episodes
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite

CRITERIA = ConsolidationCriteria(look_back=86_400.0)


class ConsolidationLaws(Suite):
    """Consolidation."""

    @law()
    async def test_consolidate_evidence(self, bank: ReasoningBank) -> None:
        """Protects what is passed on: groups that gained become skills, stored and listed."""
        users = {pattern.user_key for pattern in episodes(self.make, users=12, gain=0.4, seed=121)}
        await bank.store_patterns(episodes(self.make, users=12, gain=0.4, seed=121))
        found = await self._consolidate(bank, CRITERIA)
        assert found.episodes == 48
        assert found.skills_created >= 1
        for skill in found.skills:
            assert skill.space == self.space
            assert set(skill.user_keys) <= users
            assert skill.evidence.users == len(skill.user_keys) >= CRITERIA.min_users
            assert skill.evidence.episodes >= CRITERIA.min_uses
            if skill.passed:
                assert 0.0 < skill.evidence.lower <= skill.evidence.mean <= skill.evidence.upper

    @law()
    async def test_consolidate_null(self, bank: ReasoningBank) -> None:
        """Protects new users from noise: groups that gained nothing are not stored."""
        await bank.store_patterns(episodes(self.make, users=12, gain=0.0, seed=122))
        found = await self._consolidate(bank, CRITERIA)
        assert (found.episodes, found.skills_created) == (48, 0)

    @law()
    async def test_consolidate_criteria(self, bank: ReasoningBank) -> None:
        """Protects the thresholds that a caller sets: uses, users, look-back, success, reward."""
        make = self.make
        await bank.store_patterns(episodes(make, users=8, gain=0.4, seed=123))
        old = episodes(make, users=8, gain=0.4, seed=124, age=7 * 86_400.0, prefix="old")
        await bank.store_patterns([*old, make.pattern("pending")])
        refusing = [
            ConsolidationCriteria(look_back=86_400.0, min_users=9),
            ConsolidationCriteria(look_back=86_400.0, min_uses=33),
            ConsolidationCriteria(look_back=86_400.0, min_reward=0.95),
            ConsolidationCriteria(look_back=60.0),
        ]
        for criteria in refusing:
            assert (await self._consolidate(bank, criteria)).skills_created == 0, criteria
        assert await bank.skills(NAMESPACE) == []
        passing = ConsolidationCriteria(
            look_back=86_400.0, min_users=8, min_uses=32, min_success_rate=0.9, min_reward=0.6
        )
        found = await self._consolidate(bank, passing)
        assert found.episodes == 32
        assert found.skills_created >= 1
        assert (await self._consolidate(bank, CRITERIA)).episodes == 32
        everything = ConsolidationCriteria(look_back=30 * 86_400.0, min_users=16)
        assert (await self._consolidate(bank, everything)).episodes == 64

    @law()
    async def test_consolidate_empty(self, bank: ReasoningBank) -> None:
        """Protects periodic runs: an empty namespace gives an empty result, not an error."""
        await bank.store_patterns(episodes(self.make, users=8, gain=0.4, seed=125))
        found = await bank.auto_consolidate("empty", CRITERIA)
        assert (found.skills, found.episodes) == ((), 0)
        assert await bank.skills("empty") == []
        assert await bank.skills(NAMESPACE) == []

    @law()
    async def test_consolidate_again(self, bank: ReasoningBank) -> None:
        """Protects the list of skills from growing: the same evidence gives the same skills."""
        await bank.store_patterns(episodes(self.make, users=8, gain=0.4, seed=126))
        first = await self._consolidate(bank, CRITERIA)
        second = await self._consolidate(bank, CRITERIA)
        assert [skill.id for skill in first.skills] == [skill.id for skill in second.skills]
        assert len(await bank.skills(NAMESPACE)) == second.skills_created

    async def _consolidate(
        self, bank: ReasoningBank, criteria: ConsolidationCriteria
    ) -> Consolidation:
        found = await bank.auto_consolidate(NAMESPACE, criteria)
        kept = {skill.id for skill in await bank.skills(NAMESPACE)}
        assert {skill.id for skill in found.skills if skill.passed} <= kept
        for skill in found.skills:
            _assert_sound(skill)
        return found


def _assert_sound(skill: Skill) -> None:
    evidence = skill.evidence
    numbers = (evidence.mean, evidence.lower, evidence.upper)
    assert all(math.isfinite(number) for number in numbers), evidence
    assert evidence.lower <= evidence.mean <= evidence.upper
    assert 1 <= evidence.users <= evidence.episodes
    assert 0.0 <= skill.hints.confidence <= 1.0
    assert skill.namespace == NAMESPACE
