"""Laws of skills: stored, listed, replaced and deleted."""

from __future__ import annotations

from lorabank.protocols import Capability, PatternStore
from lorabank_conformance.compare import assert_same
from lorabank_conformance.laws import Opener, law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class SkillLaws(Suite):
    """Skills."""

    @law()
    async def test_skill_round_trip(self, store: PatternStore) -> None:
        """Protects what new users start from: every field comes back, prior weights bit by bit."""
        skills = [self.make.skill("bare"), self.make.full_skill("full")]
        for skill in skills[::-1]:
            await store.put_skill(skill)
        assert_same(await store.list_skills(NAMESPACE), skills)

    @law()
    async def test_skill_replaced(self, store: PatternStore) -> None:
        """Protects repeated consolidation: the same id replaces the skill."""
        await store.put_skill(self.make.full_skill("s"))
        await store.put_skill(self.make.skill("s"))
        assert_same(await store.list_skills(NAMESPACE), [self.make.skill("s")])

    @law()
    async def test_skill_namespaces(self, store: PatternStore) -> None:
        """Protects tenants: the same skill id in two namespaces is two skills."""
        ours = self.make.skill("s", namespace="ours", name="ours")
        theirs = self.make.skill("s", namespace="theirs", name="theirs")
        await store.put_skill(ours)
        await store.put_skill(theirs)
        assert_same(await store.list_skills("ours"), [ours])
        assert_same(await store.list_skills("theirs"), [theirs])
        assert await store.list_skills("empty") == []

    @law(Capability.DELETE_SKILL)
    async def test_skill_deleted(self, store: PatternStore) -> None:
        """Protects users who are in a skill: deleted means not listed any more.

        A skill of another namespace, or a pattern of the same id, stays.
        """
        kept = self.make.skill("s", namespace="theirs")
        await store.put_skill(kept)
        await store.put_skill(self.make.skill("s"))
        await store.put_many([self.make.pattern("s")])
        assert await store.delete_skill(NAMESPACE, "s") is True
        assert await store.delete_skill(NAMESPACE, "s") is False
        assert await store.list_skills(NAMESPACE) == []
        assert_same(await store.list_skills("theirs"), [kept])
        assert len(await store.get(NAMESPACE, ["s"])) == 1
        assert (await store.stats(NAMESPACE)).skills == 0

    @law(Capability.DELETE_SKILL, Capability.DURABLE, reopens=True)
    async def test_skill_deletion_survives_reopen(self, opener: Opener) -> None:
        """Protects users who are in a skill: deleted is deleted after opening again, too."""
        kept = self.make.skill("kept")
        async with self.opened(opener) as store:
            await store.put_skill(self.make.skill("gone"))
            await store.put_skill(kept)
        async with self.opened(opener) as store:
            assert await store.delete_skill(NAMESPACE, "gone") is True
        async with self.opened(opener) as store:
            assert_same(await store.list_skills(NAMESPACE), [kept])
            assert await store.delete_skill(NAMESPACE, "gone") is False
