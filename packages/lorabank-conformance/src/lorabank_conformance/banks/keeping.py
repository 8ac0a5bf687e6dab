"""Laws of skills in a bank, and of its generation."""

from __future__ import annotations

import pytest

from lorabank.errors import CapabilityError, EmbeddingSpaceError
from lorabank.protocols import ReasoningBank
from lorabank.types.skill import ConsolidationCriteria
from lorabank_conformance.banks.evidence import episodes
from lorabank_conformance.compare import assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE, Samples
from lorabank_conformance.suite import Suite


class KeepingLaws(Suite):
    """Skills and generations."""

    @law()
    async def test_bank_skills(self, bank: ReasoningBank) -> None:
        """Protects what new users start from: skills come back whole, by id."""
        make = self.make
        for skill in (make.skill("b"), make.skill("a"), make.full_skill("b")):
            await bank.put_skill(skill)
        assert_same(await bank.skills(NAMESPACE), [make.skill("a"), make.full_skill("b")])
        assert await bank.skills("empty") == []
        assert (await bank.stats(NAMESPACE)).skills == 2

    @law()
    async def test_bank_delete_skill(self, bank: ReasoningBank) -> None:
        """Protects against skills that proved bad: retired is gone, and the answer says if it was.

        A bank that can't says so with CapabilityError, and keeps the skill.
        """
        await bank.put_skill(self.make.skill("a"))
        await bank.put_skill(self.make.skill("b"))
        try:
            assert await bank.delete_skill(NAMESPACE, "a") is True
        except CapabilityError:
            assert len(await bank.skills(NAMESPACE)) == 2
            return
        assert await bank.delete_skill(NAMESPACE, "a") is False
        assert [skill.id for skill in await bank.skills(NAMESPACE)] == ["b"]

    @law()
    async def test_bank_skill_space_refused(self, bank: ReasoningBank) -> None:
        """Protects users from weights of another encoder: a skill of another space is refused."""
        other = type(self.space)("another", self.space.dim)
        with pytest.raises(EmbeddingSpaceError):
            await bank.put_skill(Samples(other).skill("a"))
        assert await bank.skills(NAMESPACE) == []

    @law()
    async def test_generation_grows(self, bank: ReasoningBank) -> None:
        """Protects caches: whatever makes earlier answers old raises the generation.

        A new skill, a consolidation that stores some, forgetting a user, a retired skill.
        """
        seen = [bank.generation]
        await bank.put_skill(self.make.skill("a"))
        seen.append(bank.generation)
        await bank.store_patterns(episodes(self.make, users=12, gain=0.4, seed=141))
        created = await bank.auto_consolidate(NAMESPACE, ConsolidationCriteria(look_back=86_400.0))
        assert created.skills_created >= 1
        seen.append(bank.generation)
        for retire, name in ((bank.delete_skill, "a"), (bank.forget, "u01")):
            try:
                await retire(NAMESPACE, name)
            except CapabilityError:
                continue
            seen.append(bank.generation)
        assert seen == sorted(set(seen)), f"generations {seen}"
