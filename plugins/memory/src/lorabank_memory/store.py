"""`MemoryStore`: a `PatternStore` in memory with exact search, the oracle of other backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio
import anyio.lowlevel
import numpy as np

from lorabank.errors import BankClosedError, EmbeddingSpaceError, InvalidInputError
from lorabank.protocols import Capability, StoreStats
from lorabank.turns import in_worker
from lorabank.types.arrays import Float64Array, FloatArray, as_vector, check_finite, unit_vector
from lorabank.types.checks import check_count, check_number, check_text
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.trials import Trials
from lorabank_memory.namespace import Namespace
from lorabank_memory.search import nearest, nearest_trials
from lorabank_memory.segment import View

# Searching this many numbers (2048 x 512) takes about a millisecond; more goes to a thread.
_INLINE_NUMBERS = 1 << 20
_INLINE_ROWS = 1 << 14
_INLINE_MOST = 64  # patterns to be made of what is found, each up to 20 us with a trial's arms
# Patterns that are checked, put, and made before others have their turn.
_CHECK_BLOCK, _PUT_BLOCK, _SCAN_BLOCK = 1024, 128, 32

T = TypeVar("T")


class MemoryStore:
    """Patterns and skills in this process's memory, gone when it is closed.

    Every method first gives way to other tasks (and may be cancelled there), then makes its whole
    change: without a further await, but for `put_many` and `delete` of many, which go part by part.
    """

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self._space: EmbeddingSpace | None = None
        self._dim: int | None = None  # of what is stored, bound or not
        self._closed = False
        self._limiter = anyio.CapacityLimiter(2)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All but `DURABLE` and `SHARED`."""
        return frozenset(Capability) - {Capability.DURABLE, Capability.SHARED}

    @property
    def space(self) -> EmbeddingSpace | None:
        """The bound space, or None."""
        return self._space

    async def bind(self, space: EmbeddingSpace) -> None:
        """See `PatternStore.bind`."""
        await self._enter()
        if self._space is not None and self._space != space:
            raise EmbeddingSpaceError(f"the store holds {self._space}, not {space}")
        self._check_dim(space.dim)
        self._space, self._dim = space, space.dim

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        """See `PatternStore.put_many`. Of several with one id the last counts.

        Gives way to other tasks between the parts of many.
        """
        await self._enter()
        checked = await self._checked(patterns)
        with anyio.CancelScope(shield=True):  # all of them, or none
            for namespace, some in checked.items():
                self._check_dim(some[0].dim)  # again: others may have been first meanwhile
                self._dim = some[0].dim
                patterns_here = self._namespaces.setdefault(namespace, Namespace())
                for start in range(0, len(some), _PUT_BLOCK):
                    patterns_here.put(some[start : start + _PUT_BLOCK])
                    if len(patterns) > _PUT_BLOCK:
                        await self._enter()

    async def get(self, namespace: str, ids: Sequence[str]) -> list[Pattern]:
        """See `PatternStore.get`."""
        await self._enter()
        space = self._namespace(namespace)
        found = (space.get(pattern_id) for pattern_id in ids)
        return [pattern for pattern in found if pattern is not None]

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        """See `PatternStore.search`. Scores are rounded to 6 decimals, so that ties are ties."""
        return await self._searched(nearest, namespace, vector, k, where) or []

    async def search_trials(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> Trials:
        """See `TrialSearch.search_trials`."""
        found = await self._searched(nearest_trials, namespace, vector, k, where)
        return Trials.of(()) if found is None else found

    async def _searched(
        self,
        look: Callable[[Sequence[View], Float64Array, int, PatternFilter], T],
        namespace: str,
        vector: FloatArray,
        k: int,
        where: PatternFilter,
    ) -> T | None:
        check_count(k, "k")
        query = as_vector(vector, "vector")
        await self._enter()
        self._check_dim(len(query))
        patterns = self._namespace(namespace)
        if not k or not len(patterns):
            return None
        unit = unit_vector(query)
        size, most = len(patterns), min(k, len(patterns))
        if size * len(query) <= _INLINE_NUMBERS and size <= _INLINE_ROWS and most <= _INLINE_MOST:
            return look(patterns.views(), unit, k, where)
        # Not abandoned on cancellation: the views are only kept for the length of the block.
        with patterns.reading() as views:
            return await in_worker(look, views, unit, k, where, limiter=self._limiter)

    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        """See `PatternStore.scan`. Gives way to other tasks between blocks of a long scan."""
        check_count(limit, "limit")
        page: list[Pattern] = []
        await self._enter()
        while len(page) < limit:
            patterns = self._namespace(namespace)
            block = patterns.after(after, _SCAN_BLOCK)
            page += patterns.those_that_pass(block, where)
            if len(block) < _SCAN_BLOCK:
                break
            after = block[-1]
            await self._enter()
        return page[:limit]

    async def delete(self, namespace: str, where: PatternFilter) -> int:
        """See `PatternStore.delete`. Gives way to other tasks between the parts of a long one."""
        await self._enter()
        patterns = self._namespace(namespace)
        ids = patterns.passing_ids(where)
        with anyio.CancelScope(shield=True):  # all of it, or nothing
            for part in patterns.parts(ids):
                patterns.remove(part)
                await anyio.lowlevel.checkpoint()
        return len(ids)

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        """See `Refusal.refuse`.

        Kept until the store is closed, some 120 bytes for each user that was forgotten: a tenth of
        one pattern. A bound in number or time would let somebody back in, for episodes may also
        come late from a queue, or from a backup that is stored again, and nobody knows how late.
        """
        check_text(namespace, "namespace")
        check_text(user_key, "user_key")
        check_number(until, "until", low=0.0)
        await self._enter()
        self._namespaces.setdefault(namespace, Namespace()).refuse(user_key, until)

    async def put_skill(self, skill: Skill) -> None:
        """See `PatternStore.put_skill`."""
        await self._enter()
        if not isinstance(skill, Skill):
            raise InvalidInputError("skill", skill, "a Skill")
        if self._space is not None and skill.space != self._space:
            raise EmbeddingSpaceError(f"the store holds {self._space}, not {skill.space}")
        self._check_dim(skill.space.dim)
        self._dim = skill.space.dim
        self._namespaces.setdefault(skill.namespace, Namespace()).skills[skill.id] = skill

    async def list_skills(self, namespace: str) -> list[Skill]:
        """See `PatternStore.list_skills`."""
        await self._enter()
        skills = self._namespace(namespace).skills
        return [skills[skill_id] for skill_id in sorted(skills)]

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        """See `PatternStore.delete_skill`."""
        await self._enter()
        return self._namespace(namespace).skills.pop(skill_id, None) is not None

    async def stats(self, namespace: str) -> StoreStats:
        """See `PatternStore.stats`. ``bytes`` counts vectors and columns, not the objects."""
        await self._enter()
        patterns = self._namespace(namespace)
        return StoreStats(len(patterns), len(patterns.skills), patterns.nbytes)

    async def aclose(self) -> None:
        """Forget everything; again: nothing happens."""
        self._closed = True
        self._namespaces = {}
        await anyio.lowlevel.checkpoint()

    async def _enter(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self._closed:
            raise BankClosedError("the memory store is closed")

    def _namespace(self, name: str) -> Namespace:
        found = self._namespaces.get(name)
        return Namespace() if found is None else found

    def _check_dim(self, dim: int) -> None:
        if self._dim is not None and dim != self._dim:
            held = self._space or f"vectors of dimension {self._dim}"
            raise EmbeddingSpaceError(f"the store holds {held}, not dimension {dim}")

    async def _checked(self, patterns: Sequence[Pattern]) -> dict[str, list[Pattern]]:
        """By namespace, of equal ids the last. All are checked before anything is changed."""
        found: dict[str, dict[str, Pattern]] = {}
        dim = self._dim
        for start in range(0, len(patterns), _CHECK_BLOCK):
            if start:
                await self._enter()
            block = patterns[start : start + _CHECK_BLOCK]
            for pattern in block:
                dim = self._common_dim(pattern, dim)
                found.setdefault(pattern.namespace, {})[pattern.id] = pattern
            contexts = np.concatenate([pattern.context for pattern in block])
            check_finite(contexts, "pattern.context")  # they may have been written to since
        return {namespace: list(some.values()) for namespace, some in found.items()}

    def _common_dim(self, pattern: Pattern, dim: int | None) -> int:
        """That of all patterns so far (None: there were none), if it is this one's as well."""
        if not isinstance(pattern, Pattern):
            raise InvalidInputError("patterns", pattern, "Pattern objects")
        if len(pattern.context) != dim:
            self._check_dim(pattern.dim)
            if dim is not None:
                raise EmbeddingSpaceError(f"patterns of dimension {dim} and {pattern.dim}")
        return pattern.dim
