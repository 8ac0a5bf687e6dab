"""The memory backend, broken in one way each: the kit must notice every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event
from time import thread_time

import anyio
import anyio.lowlevel
import numpy as np

from lorabank.errors import BankClosedError, InvalidInputError
from lorabank.protocols import Capability
from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.space import EmbeddingSpace
from lorabank_memory import MemoryStore
from lorabank_memory.namespace import Namespace

MANY = 1_000_000


class DistanceForSimilarity(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        found = await super().search(namespace, vector, k, where)
        return [replace(match, score=1.0 - match.score) for match in found]


class ProductForCosine(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        found = await super().search(namespace, vector, MANY * (k > 0), where)
        found = [Match(m.pattern, float(m.pattern.context @ vector)) for m in found]
        return sorted(found, key=lambda match: (-match.score, match.pattern.id))[:k]


class FilterAfterSearch(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        found = await super().search(namespace, vector, 10 * k, EVERYTHING)
        return [match for match in found if where.matches(match.pattern)][:k]


class TieOrderReversed(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        found = await super().search(namespace, vector, MANY * (k > 0), where)
        found.sort(key=lambda match: match.pattern.id, reverse=True)
        return sorted(found, key=lambda match: -match.score)[:k]


class NegativeKAccepted(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        return (await super().search(namespace, vector, max(k, 0) or MANY, where))[:k]


class NamespaceLeak(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        found: list[Match] = []
        for name in list(self._namespaces):
            found += await super().search(name, vector, k, where)
        return sorted(found, key=lambda match: (-match.score, match.pattern.id))[:k]


class NamespacesFolded(MemoryStore):
    def _namespace(self, name: str):  # type: ignore[no-untyped-def]
        folded = {known.casefold(): known for known in reversed(self._namespaces)}
        return super()._namespace(folded.get(name.casefold(), name))


class DeletedComesBack(MemoryStore):
    """Tombstones that only reads by id respect, as of an index without removal."""

    def __init__(self) -> None:
        super().__init__()
        self._gone: set[tuple[str, str]] = set()

    async def delete(self, namespace: str, where: PatternFilter) -> int:
        found = await self.scan(namespace, where, None, MANY)
        self._gone |= {(namespace, pattern.id) for pattern in found}
        return len(found)

    async def get(self, namespace: str, ids: Sequence[str]) -> list[Pattern]:
        return [p for p in await super().get(namespace, ids) if self._is_there(p)]

    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        found = await super().scan(namespace, where, after, MANY if limit > 0 else limit)
        return [pattern for pattern in found if self._is_there(pattern)][:limit]

    def _is_there(self, pattern: Pattern) -> bool:
        return (pattern.namespace, pattern.id) not in self._gone


class DeleteEverywhere(MemoryStore):
    async def delete(self, namespace: str, where: PatternFilter) -> int:
        return sum([await MemoryStore.delete(self, name, where) for name in self._namespaces])


class PutAppends(MemoryStore):
    """Keeps what was replaced, and finds it."""

    def __init__(self) -> None:
        super().__init__()
        self._older: list[Pattern] = []

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        for pattern in patterns:
            self._older += await self.get(pattern.namespace, [pattern.id])
        await super().put_many(patterns)

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        found = await super().search(namespace, vector, k, where)
        older = [p for p in self._older if p.namespace == namespace and where.matches(p)]
        return [*found, *(Match(pattern, -1.0) for pattern in older)][:k]


class HalfWritten(MemoryStore):
    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        for pattern in patterns:
            await super().put_many([pattern])


class BadRecordsDropped(MemoryStore):
    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        good = []
        for pattern in patterns:
            with suppress(InvalidInputError):
                self._prepare([pattern])
                good.append(pattern)
        await super().put_many(good)


class LostUpdates(MemoryStore):
    """Reads, gives way, and writes back what it read with its own added."""

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        before = {
            name: {p.id for p in await super(LostUpdates, self).scan(name, EVERYTHING, None, MANY)}
            for name in list(self._namespaces)
        }
        await anyio.lowlevel.checkpoint()
        await super().put_many(patterns)
        for name, ids in before.items():
            known = ids | {p.id for p in patterns}
            space = self._namespaces[name]
            space.remove([i for i in space.passing_ids(EVERYTHING) if i not in known])


class Float16Storage(MemoryStore):
    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        with np.errstate(over="ignore"):
            rounded = [p.context.astype(np.float16).astype(np.float32) for p in patterns]
        kept = [np.nan_to_num(row, posinf=6e4, neginf=-6e4) for row in rounded]
        pairs = zip(patterns, kept, strict=True)
        await super().put_many([replace(p, context=row) for p, row in pairs])


class TrialForgotten(MemoryStore):
    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        await super().put_many([replace(pattern, trial=None) for pattern in patterns])


class PendingCountsAsZero(MemoryStore):
    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        if where.min_reward is not None and where.min_reward <= 0 and where.success is None:
            where = replace(where, min_reward=None)
        return await super().scan(namespace, where, after, limit)


class WildcardKeys(MemoryStore):
    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        if where.user_key == "%":
            where = replace(where, user_key=None)
        return await super().scan(namespace, where, after, limit)


class ScanSkipsAtPages(MemoryStore):
    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        page = await super().scan(namespace, where, after, limit + (after is not None))
        return page if after is None else page[1:]


class FilterAfterPage(MemoryStore):
    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        page = await super().scan(namespace, EVERYTHING, after, limit)
        return [pattern for pattern in page if where.matches(pattern)]


class BlocksTheLoop(MemoryStore):
    """Waits in the loop's thread, as a driver that is not async does."""

    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        if limit > 1000:
            Event().wait(0.5)
        return await super().scan(namespace, where, after, limit)


class ComputesInTheLoop(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        end = thread_time() + 0.5 * (k == 10 and where == EVERYTHING)
        while thread_time() < end:
            pass
        return await super().search(namespace, vector, k, where)


class OtherSpaceAccepted(MemoryStore):
    async def bind(self, space: EmbeddingSpace) -> None:
        await self._enter()
        self._space, self._dim = space, space.dim


class UseAfterClose(MemoryStore):
    async def _enter(self) -> None:
        with suppress(BankClosedError):
            await super()._enter()


class DurabilityOverclaimed(MemoryStore):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.DURABLE}


class SharingOverclaimed(MemoryStore):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities | {Capability.SHARED}


class DeleteUndeclared(MemoryStore):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.DELETE_SKILL})


class DeleteSkillOverclaimed(MemoryStore):
    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        return skill_id in {skill.id for skill in await self.list_skills(namespace)}


class ReturnsWhenCancelled(MemoryStore):
    """As if it had been done."""

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.lowlevel.checkpoint()
            await super().put_many(patterns)


class GivesItsArraysAway(MemoryStore):
    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        self._prepare(patterns)
        own = [replace(pattern) for pattern in patterns]
        for pattern in own:
            object.__setattr__(pattern, "context", pattern.context.copy())
        await super().put_many(own)


class WritesIntoTheQuery(MemoryStore):
    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        if vector.flags.writeable and 0 < np.abs(vector).max() < 1e20:
            vector /= np.linalg.norm(vector.astype(np.float64)).astype(np.float32)
        return await super().search(namespace, vector, k, where)


class Remembers(MemoryStore):
    """What it was asked, until something is stored; and the list that it gave is the one it has."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[tuple[object, ...], list[Match]] = {}

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        self.answers.clear()
        await super().put_many(patterns)

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        asked = (namespace, vector.tobytes(), k, where)
        if asked not in self.answers:
            self.answers[asked] = await super().search(namespace, vector, k, where)
        return self.answers[asked]


class DeleteIgnoresUntil(MemoryStore):
    async def delete(self, namespace: str, where: PatternFilter) -> int:
        return await super().delete(namespace, replace(where, until=None))


class RefusalIgnored(MemoryStore):
    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        await super().refuse(namespace, user_key, 0.0 * until)


class RefusedForGood(MemoryStore):
    """Also what the user does afterwards."""

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        await super().refuse(namespace, user_key, until + 1e6)


class RefusedJustBefore(MemoryStore):
    """But not what was made at that very moment."""

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        await super().refuse(namespace, user_key, float(np.nextafter(until, 0.0)))


class RefusedEverywhere(MemoryStore):
    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        spaces = self._namespaces.values()
        await super().put_many([p for p in patterns if not any(n._is_refused(p) for n in spaces)])


class RefusedWithTheBatch(MemoryStore):
    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        welcome = [p for p in patterns if not self._namespace(p.namespace)._is_refused(p)]
        await super().put_many(patterns if welcome == list(patterns) else [])


class RefusalOfTheLastCall(MemoryStore):
    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        self._namespace(namespace)._refused.clear()
        await super().refuse(namespace, user_key, until)


class RefusalDeletes(MemoryStore):
    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        await super().refuse(namespace, user_key, until)
        await self.delete(namespace, PatternFilter(user_key=user_key))


class RefusalBesideTheWrite(MemoryStore):
    """Looks at what is refused, gives way for a while, and stores what was welcome then."""

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        welcome = [p for p in patterns if not self._namespace(p.namespace)._is_refused(p)]
        for _ in range(5):
            await self._enter()
        for name, some in (await self._checked(welcome)).items():
            space = self._namespaces.setdefault(name, Namespace())
            refused, space._refused = space._refused, {}
            space.put(some)
            space._refused, self._dim = refused, some[0].dim


class RefusalUndeclared(MemoryStore):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities - {Capability.REFUSE}


CAUGHT_BY: dict[type[MemoryStore], set[str]] = {
    DistanceForSimilarity: {"search-order"},
    ProductForCosine: {"search-exact", "search-any-length"},
    FilterAfterSearch: {"filter-inside-search"},
    TieOrderReversed: {"tie-order"},
    NegativeKAccepted: {"negative-k-refused"},
    NamespaceLeak: {"namespaces-isolated", "namespace-starvation"},
    NamespacesFolded: {"hostile-namespaces"},
    DeletedComesBack: {"delete-is-gone", "delete-then-put"},
    DeleteEverywhere: {"delete-within-namespace"},
    PutAppends: {"put-idempotent", "put-replaces"},
    HalfWritten: {"put-atomic", "cancel-put"},
    BadRecordsDropped: {"nan-refused"},
    LostUpdates: {"concurrent-writers"},
    Float16Storage: {"exact-float32", "round-trip"},
    TrialForgotten: {"round-trip"},
    PendingCountsAsZero: {"filter-meaning"},
    WildcardKeys: {"hostile-user-keys"},
    ScanSkipsAtPages: {"scan-pages", "scan-after"},
    FilterAfterPage: {"scan-filtered-pages"},
    BlocksTheLoop: {"loop-never-blocked"},
    ComputesInTheLoop: {"loop-never-blocked"},
    OtherSpaceAccepted: {"other-space-refused"},
    UseAfterClose: {"use-after-close", "use-after-block"},
    DurabilityOverclaimed: {"durable-as-declared", "reopen-keeps-all"},
    SharingOverclaimed: {"shared-sees-writes", "shared-writers"},
    ReturnsWhenCancelled: {"cancel-put"},
    GivesItsArraysAway: {"answers-are-the-callers"},
    WritesIntoTheQuery: {"arguments-stay-as-they-are"},
    Remembers: {"delete-is-gone", "answers-are-the-callers"},
    DeleteIgnoresUntil: {"delete-meaning"},
    RefusalIgnored: {"refused-is-left-out"},
    RefusedForGood: {"refused-is-left-out"},
    RefusedJustBefore: {"refused-is-left-out"},
    RefusedEverywhere: {"refuse-only-hers"},
    RefusedWithTheBatch: {"refused-is-left-out", "refuse-only-hers"},
    RefusalOfTheLastCall: {"refuse-latest-counts"},
    RefusalDeletes: {"refuse-keeps-what-is-there"},
    RefusalBesideTheWrite: {"refuse-crosses-writers"},
    RefusalUndeclared: {"refuse-as-declared"},
    DeleteUndeclared: {"delete-as-declared"},
    DeleteSkillOverclaimed: {"delete-skill-as-declared", "skill-deleted"},
}
