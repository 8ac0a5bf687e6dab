"""What the remote holds, decoded, in this process: searched instead of the remote.

Each tenant's patterns are kept in the index of the in-memory backend. All methods are synchronous,
so that a change is whole between two awaits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice

from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank_agentic_flow.records import PATTERN, SKILL, Key, Record
from lorabank_memory.namespace import Namespace

_OBJECT_BYTES = 2048  # of a pattern's objects besides its vectors, roughly


class View:
    """The newest version of every record, and other writers' episodes."""

    def __init__(self) -> None:
        self.space: EmbeddingSpace | None = None
        self.dim: int | None = None
        self._tenants: defaultdict[str, Namespace] = defaultdict(Namespace)
        # By kind and namespace, and id: thousands of `Key` objects would burden Python's collector.
        self._revisions: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        # Other writers' episodes, by namespace and id; those with a vector are in the index too.
        self._foreign: defaultdict[str, dict[str, Pattern]] = defaultdict(dict)

    def put(self, records: Iterable[Record]) -> list[str]:
        """Take in versions; the revisions that no longer count, theirs or earlier ones."""
        outdated: list[str] = []
        new: defaultdict[str, dict[str, Pattern]] = defaultdict(dict)
        for record in records:
            key, held = record.key, self.revision(record.key)
            if held is not None and held != record.revision:
                outdated.append(min(held, record.revision))
            if held is not None and held >= record.revision:
                continue
            self._revisions[key[:2]][key.id] = record.revision
            if isinstance(record.value, Pattern):
                new[key.namespace][key.id] = record.value
                self.dim = record.value.dim
            else:
                self._take(key, record.value)
        for namespace, batch in new.items():
            self._tenants[namespace].put(list(batch.values()))
        return outdated

    def drop(self, versions: Iterable[tuple[Key, str]]) -> None:
        """Remove records, unless a later version than the given one is held."""
        gone: defaultdict[str, list[str]] = defaultdict(list)
        for key, revision in versions:
            held = self.revision(key)
            if held is None or held > revision:
                continue
            del self._revisions[key[:2]][key.id]
            if key.kind == PATTERN:
                gone[key.namespace].append(key.id)
            elif key.kind == SKILL:
                self._tenants[key.namespace].skills.pop(key.id, None)
        for namespace, ids in gone.items():
            self._tenants[namespace].remove(ids)

    def put_foreign(self, patterns: Iterable[Pattern], *, searchable: bool) -> None:
        """Take in other writers' episodes; ``searchable`` if their vectors mean something."""
        for pattern in patterns:
            if self.revision(Key(PATTERN, pattern.namespace, pattern.id)) is not None:
                continue
            self._foreign[pattern.namespace][pattern.id] = pattern
            if searchable:
                self._tenants[pattern.namespace].put([pattern])

    def revision(self, key: Key) -> str | None:
        """The held version of a record."""
        return self._revisions.get(key[:2], {}).get(key.id)

    def versions(self, namespace: str, where: PatternFilter) -> list[tuple[Key, str]]:
        """Keys and versions of all own patterns that pass."""
        held = self._revisions.get((PATTERN, namespace), {})
        passing = self.tenant(namespace).passing_ids(where)
        return [(Key(PATTERN, namespace, one), held[one]) for one in passing if one in held]

    def foreign(self, namespace: str, where: PatternFilter) -> list[Pattern]:
        """Other writers' episodes that pass."""
        return [found for found in self._foreign_of(namespace).values() if where.matches(found)]

    def tenant(self, namespace: str) -> Namespace:
        """The index of a namespace; an empty one if it is not there."""
        return self._tenants[namespace] if namespace in self._tenants else Namespace()

    def get(self, namespace: str, ids: Sequence[str]) -> list[Pattern]:
        """Those that are there, in the order asked for."""
        tenant, foreign = self.tenant(namespace), self._foreign_of(namespace)
        found = (tenant.get(one) or foreign.get(one) for one in ids)
        return [pattern for pattern in found if pattern is not None]

    def after(self, namespace: str, after: str | None, count: int) -> list[Pattern]:
        """The next ``count`` patterns by id, own and other writers'."""
        tenant = self.tenant(namespace)
        aside = [
            pattern
            for name, pattern in sorted(self._foreign_of(namespace).items())
            if (after is None or name > after) and tenant.get(name) is None
        ]
        own = tenant.those_that_pass(tenant.after(after, count), EVERYTHING)
        return list(islice(merge(own, aside, key=lambda pattern: pattern.id), count))

    def skills(self, namespace: str) -> list[Skill]:
        """All skills of the namespace, by id."""
        skills = self.tenant(namespace).skills
        return [skills[name] for name in sorted(skills)]

    def count(self, namespace: str) -> int:
        """How many patterns the namespace has."""
        tenant = self.tenant(namespace)
        aside = (name for name in self._foreign_of(namespace) if tenant.get(name) is None)
        return len(tenant) + sum(1 for _ in aside)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it, roughly."""
        vectors = sum(tenant.nbytes for tenant in self._tenants.values())
        return vectors + _OBJECT_BYTES * sum(map(len, self._revisions.values()))

    def _take(self, key: Key, value: Skill | EmbeddingSpace) -> None:
        if isinstance(value, Skill):
            self._tenants[key.namespace].skills[value.id] = value
            self.dim = value.space.dim
        else:
            self.space, self.dim = value, value.dim

    def _foreign_of(self, namespace: str) -> dict[str, Pattern]:
        return self._foreign.get(namespace, {})
