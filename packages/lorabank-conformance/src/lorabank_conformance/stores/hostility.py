"""Laws of hostile text: ids, user keys and namespaces are data, never syntax."""

from __future__ import annotations

from lorabank.protocols import Capability, PatternStore
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_conformance.compare import assert_same
from lorabank_conformance.hostile import HOSTILE
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE
from lorabank_conformance.suite import Suite


class HostilityLaws(Suite):
    """Quotes, wildcards, paths, unicode, NUL, ten thousand characters."""

    @law()
    async def test_hostile_ids(self, store: PatternStore) -> None:
        """Protects ids that are not UUIDs: each is itself, none is folded, cut or interpreted."""
        patterns = [self.make.pattern(i, task=f"task of {i}") for i in sorted(HOSTILE)]
        await store.put_many(patterns)
        for pattern in patterns:
            assert_same(await store.get(NAMESPACE, [pattern.id]), [pattern])
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 1000), patterns)
        for number, pattern in enumerate(patterns):
            page = await store.scan(NAMESPACE, EVERYTHING, pattern.id, 1)
            assert_same(page, patterns[number + 1 : number + 2])

    @law()
    async def test_hostile_user_keys(self, store: PatternStore) -> None:
        """Protects users from each other: a filter finds exactly its user, whatever the key."""
        make = self.make
        users = {user: make.pattern(f"p{i:02}", user_key=user) for i, user in enumerate(HOSTILE)}
        await store.put_many(list(users.values()))
        for user, pattern in users.items():
            only, rest = PatternFilter(user_key=user), PatternFilter(exclude_user_key=user)
            assert_same(await store.scan(NAMESPACE, only, None, 100), [pattern])
            found = await store.search(NAMESPACE, make.axis(0), 100, only)
            assert [match.pattern.id for match in found] == [pattern.id]
            assert len(await store.search(NAMESPACE, make.axis(0), 100, rest)) == len(users) - 1

    @law(Capability.DELETE)
    async def test_hostile_delete(self, store: PatternStore) -> None:
        """Protects everyone from one user's strange key: deleting it deletes that user alone."""
        make = self.make
        left = {user: make.pattern(f"p{i:02}", user_key=user) for i, user in enumerate(HOSTILE)}
        await store.put_many(list(left.values()))
        for user in HOSTILE:
            assert await store.delete(NAMESPACE, PatternFilter(user_key=user)) == 1
            del left[user]
            assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), list(left.values()))

    @law()
    async def test_hostile_namespaces(self, store: PatternStore) -> None:
        """Protects tenants with strange names: each sees its own pattern and skill."""
        make = self.make
        for name in HOSTILE:
            await store.put_many([make.pattern("same", namespace=name, task=name)])
            await store.put_skill(make.skill("same", namespace=name, name=name))
        for name in HOSTILE:
            found = await store.scan(name, EVERYTHING, None, 100)
            assert [(p.namespace, p.task) for p in found] == [(name, name)]
            skills = await store.list_skills(name)
            assert [(s.namespace, s.name) for s in skills] == [(name, name)]
            stats = await store.stats(name)
            assert (stats.patterns, stats.skills) == (1, 1)

    @law()
    async def test_hostile_texts(self, store: PatternStore) -> None:
        """Protects free text: tasks, critiques and skill ids come back as they were."""
        make = self.make
        patterns = [
            make.pattern(f"p{i:02}", task=text, critique=text, skill_ids=(text, *HOSTILE[:9]))
            for i, text in enumerate(HOSTILE)
        ]
        await store.put_many(patterns)
        assert_same(await store.scan(NAMESPACE, EVERYTHING, None, 100), patterns)

    @law(Capability.DELETE_SKILL)
    async def test_hostile_skill_ids(self, store: PatternStore) -> None:
        """Protects skills with strange ids: listed by code point, deleted one by one."""
        skills = [self.make.skill(i, user_keys=(i,)) for i in sorted(HOSTILE)]
        for skill in skills:
            await store.put_skill(skill)
        assert_same(await store.list_skills(NAMESPACE), skills)
        while skills:
            gone = skills.pop(len(skills) // 2)
            assert await store.delete_skill(NAMESPACE, gone.id) is True
            assert_same(await store.list_skills(NAMESPACE), skills)
