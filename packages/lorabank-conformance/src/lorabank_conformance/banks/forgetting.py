"""Laws of forgetting a user."""

from __future__ import annotations

import pytest

from lorabank.errors import CapabilityError, InvalidInputError
from lorabank.protocols import Capability, PatternStore, ReasoningBank, Refusal
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import ConsolidationCriteria
from lorabank_conformance.banks.evidence import episodes
from lorabank_conformance.laws import NotApplicableError, law
from lorabank_conformance.samples import NAMESPACE, NOW
from lorabank_conformance.suite import Suite


class ForgetLaws(Suite):
    """Forgetting."""

    @law()
    async def test_forget_user(self, bank: ReasoningBank) -> None:
        """Protects the right to be forgotten: the user's patterns and skills are gone, verifiably.

        Everyone else's stay, and so does the user of that name in another namespace.
        """
        make = self.make
        for user in ("ada", "bob", "ada' OR '1'='1", "%"):
            await bank.store_patterns(
                [make.pattern(f"{user}-{i}", user_key=user) for i in range(3)]
            )
        await bank.store_pattern(make.pattern("x", namespace="theirs", user_key="ada"))
        await bank.put_skill(make.skill("hers", user_keys=("bob", "ada")))
        await bank.put_skill(make.skill("his", user_keys=("bob",)))
        await bank.put_skill(make.skill("hers", namespace="theirs", user_keys=("ada",)))
        assert await _forget(bank, "ada") == 3
        left = await bank.retrieve_patterns(Query(context=make.axis(0), k=100))
        assert "ada" not in {match.pattern.user_key for match in left}
        assert len(left) == (await bank.stats(NAMESPACE)).patterns == 9
        hers = Query(context=make.axis(0), k=100, where=PatternFilter(user_key="ada"))
        assert await bank.retrieve_patterns(hers) == []
        assert [skill.id for skill in await bank.skills(NAMESPACE)] == ["his"]
        assert (await bank.stats("theirs")).patterns == 1
        assert len(await bank.skills("theirs")) == 1

    @law()
    async def test_forget_again(self, bank: ReasoningBank) -> None:
        """Protects retries: forgetting someone unknown, or again, removes nothing and says 0."""
        await bank.store_pattern(self.make.pattern("a", user_key="ada"))
        assert await _forget(bank, "nobody") == 0
        assert await bank.forget(NAMESPACE, "ada") == 1
        assert await bank.forget(NAMESPACE, "ada") == 0

    @law()
    async def test_forget_empty_refused(self, bank: ReasoningBank) -> None:
        """Protects everyone: no key is an InvalidInputError, never a filter that all pass."""
        await bank.store_pattern(self.make.pattern("a", user_key="ada"))
        with pytest.raises((InvalidInputError, CapabilityError)):
            await bank.forget(NAMESPACE, "")
        assert (await bank.stats(NAMESPACE)).patterns == 1

    @law()
    async def test_bank_refuses(self, bank: ReasoningBank) -> None:
        """Protects the forgotten: what they did before is left out, of a batch and by itself."""
        if not isinstance(bank, Refusal):
            raise NotApplicableError("it gives no `refuse`")
        store = getattr(bank, "store", None)
        if isinstance(store, PatternStore) and Capability.REFUSE not in store.capabilities:
            raise NotApplicableError("REFUSE is not declared by its store")
        late = self.make.pattern("late", user_key="ada")
        rest = [
            self.make.pattern("bobs", user_key="bob"),
            self.make.pattern("new", user_key="ada", created_at=NOW + 1),
        ]
        for _ in range(2):
            await bank.refuse(NAMESPACE, "ada", NOW)
            await bank.store_patterns([late, *rest])
            await bank.store_pattern(late)
        found = await bank.retrieve_patterns(Query(context=self.make.axis(0), k=100))
        assert [match.pattern.id for match in found] == ["bobs", "new"]
        assert (await bank.stats(NAMESPACE)).patterns == 2

    @law()
    async def test_forget_in_consolidation(self, bank: ReasoningBank) -> None:
        """Protects likewise afterwards: no later skill has the forgotten user in it."""
        await bank.store_patterns(episodes(self.make, users=12, gain=0.4, seed=131))
        criteria = ConsolidationCriteria(look_back=86_400.0)
        await bank.auto_consolidate(NAMESPACE, criteria)
        assert await _forget(bank, "u05") == 4
        for _ in range(2):
            listed = await bank.skills(NAMESPACE)
            assert not [skill.id for skill in listed if "u05" in skill.user_keys]
            found = await bank.auto_consolidate(NAMESPACE, criteria)
            assert found.episodes == 44
            assert not [skill.id for skill in found.skills if "u05" in skill.user_keys]


async def _forget(bank: ReasoningBank, user: str) -> int:
    try:
        return await bank.forget(NAMESPACE, user)
    except CapabilityError as exc:
        raise NotApplicableError(f"it can't forget: {exc}") from exc
