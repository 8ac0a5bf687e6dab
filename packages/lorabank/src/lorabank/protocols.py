"""What a backend must give, and what an engine asks of a bank.

`PatternStore` is the small contract for backend authors: where patterns and skills live.
`ReasoningBank` is what an engine talks to; `lorabank.bank.StandardBank` implements it over any
store. A remote system with strategy learning of its own may implement `ReasoningBank` directly.

Laws that hold for every implementation:

- Scores are cosine similarity in [-1, 1], higher is better; a zero vector scores 0 with everything.
  Equal scores are ordered by id.
- Ids are unique within their namespace, and ordered by code point, in ties as in scans.
- What a write returned from is found by the next search; what a delete returned from is not.
- Ids are given by the writer. Storing an id again replaces it: storing twice is storing once.
- A filter is applied inside the search: if k patterns match it, k patterns come back.
- A store holds one embedding space, and refuses another with `EmbeddingSpaceError`.
- Namespaces never see each other.
- A cancelled write leaves the old state or the new one, never half.
- Faults are `BankError`s: `BankUnavailableError` if trying again later may work,
  `BankRejectedError` if it won't, `BankClosedError` after `aclose`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import Consolidation, ConsolidationCriteria, Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.strategy import Strategy
from lorabank.types.trials import Trials

T = TypeVar("T")


class Capability(enum.Enum):
    """What a store can do beyond the minimum. Declared must equal implemented."""

    DURABLE = "survives the process: what was written is there after closing and opening again"
    SHARED = "several processes may use it at once"
    DELETE = "patterns can be deleted"
    DELETE_SKILL = "skills can be deleted"
    TRIALS = "the trials of the nearest patterns are found as columns (`TrialSearch`)"
    REFUSE = "what a user did before being forgotten is left out from then on (`Refusal`)"


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts within one namespace. ``bytes`` is what the store holds, or None if unknown."""

    patterns: int
    skills: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The ``k`` nearest that pass ``where``."""

    k: int
    where: PatternFilter


@runtime_checkable
class PatternStore(Protocol):
    """Where patterns and skills live.

    Before `bind` a store may refuse vectors with EmbeddingSpaceError; if it takes them, the first
    fix the dimension. Calling a method after `aclose` raises BankClosedError.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this store can do."""
        ...

    @property
    def space(self) -> EmbeddingSpace | None:
        """The space that it is bound to; None until the first `bind`."""
        ...

    async def bind(self, space: EmbeddingSpace) -> None:
        """Fix the embedding space, for good. Again with the same one: nothing happens.

        Raises: EmbeddingSpaceError if it is bound to another.
        """
        ...

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        """Store all of them or none, each under its own namespace; same id: replaced.

        Of several with one id in one call the last counts.

        Raises: EmbeddingSpaceError for a context of another dimension; InvalidInputError for what
        is no pattern.
        """
        ...

    async def get(self, namespace: str, ids: Sequence[str]) -> list[Pattern]:
        """Those of ``ids`` that are there, in the order asked for."""
        ...

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        """The k most similar patterns that pass the filter, best first.

        Raises: InvalidInputError for k < 0; EmbeddingSpaceError for another dimension.
        """
        ...

    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        """A page of ``limit`` patterns that pass, by id, those after ``after``.

        It is shorter only at the end, so a page that is not full is the last one.
        """
        ...

    async def delete(self, namespace: str, where: PatternFilter) -> int:
        """Remove what passes, and say how many. Raises CapabilityError without DELETE."""
        ...

    async def put_skill(self, skill: Skill) -> None:
        """Store a skill under its own namespace; same id: replaced.

        Raises: EmbeddingSpaceError for a skill of another space.
        """
        ...

    async def list_skills(self, namespace: str) -> list[Skill]:
        """All skills of the namespace, by id."""
        ...

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        """Whether it was there. Raises CapabilityError without DELETE_SKILL."""
        ...

    async def stats(self, namespace: str) -> StoreStats:
        """Counts of the namespace."""
        ...

    async def aclose(self) -> None:
        """Close for good; again: nothing happens.

        What a write returned from stays written; one that is under way is done entirely or not at
        all.
        """
        ...


@runtime_checkable
class TrialSearch(Protocol):
    """What a store with `Capability.TRIALS` gives beside `PatternStore`.

    Strategies are learned from hundreds of trials at a time. Without this they come from `search`,
    a whole pattern for each: the same strategy, more slowly.
    """

    async def search_trials(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> Trials:
        """The trials of what `search` finds among patterns that have one, in the same order.

        Raises: InvalidInputError for k < 0; EmbeddingSpaceError for another dimension.
        """
        ...


@runtime_checkable
class JointSearch(Protocol):
    """What a store may give beside `TrialSearch`: both searches of one question in one go.

    An engine asks for the nearest patterns and for what their trials teach at once. Each search by
    itself costs a hop to a worker thread and back, and threads that run beside each other wait for
    the interpreter's lock.
    """

    async def search_joint(
        self,
        namespace: str,
        vector: FloatArray,
        wanted: Wanted,
        trials: Wanted,
        conclude: Callable[[list[Match], Trials], T],
    ) -> T:
        """What ``conclude`` makes of `search` and `search_trials` for the same vector.

        ``conclude`` is called in the thread that searched; what it raises is raised here.

        Raises: as both do.
        """
        ...


@runtime_checkable
class Refusal(Protocol):
    """What a store with `Capability.REFUSE`, or a bank, gives: forgotten users stay forgotten.

    A process can be stopped in the middle of a delivery, and go on with it long after another had
    the user forgotten. Only where the episodes arrive can they be refused for certain.
    `StandardBank` has this, and passes it on to a store that declares it.
    """

    async def refuse(self, namespace: str, user_key: str, until: float) -> None:
        """Leave out from now on what is to be stored of a user made up to ``until``.

        ``until`` is in unix seconds, as `Pattern.created_at`; of several the latest counts. Whoever
        stores such patterns is not told: the others are stored, and what is there already stays
        until it is deleted. A write under way when this returns obeys it, too, unless what it
        stores can be seen, and deleted, by then. It is as durable as a pattern.

        Raises: InvalidInputError: an empty key, or no time.
        """
        ...


class Embedder(Protocol):
    """Turns text into vectors of one space."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space of its vectors."""
        ...

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim)."""
        ...


@runtime_checkable
class ReasoningBank(Protocol):
    """What an engine asks of a bank. Whoever opened it closes it: an engine given one does not."""

    @property
    def generation(self) -> int:
        """Grows when earlier answers may be out of date (consolidation, a new skill, forget)."""
        ...

    @property
    def space(self) -> EmbeddingSpace | None:
        """The space of its vectors; None while it is empty."""
        ...

    async def bind(self, space: EmbeddingSpace) -> None:
        """Fix the embedding space. Raises: EmbeddingSpaceError if it is another."""
        ...

    async def store_pattern(self, pattern: Pattern) -> None:
        """Store one pattern; same id: replaced."""
        ...

    async def store_patterns(self, patterns: Sequence[Pattern]) -> None:
        """Store all of them or none."""
        ...

    async def retrieve_patterns(self, query: Query) -> list[Match]:
        """The ``query.k`` most similar patterns that pass its filter, best first.

        Raises: EmbeddingSpaceError for another dimension; InvalidInputError for a query of text
        alone where no embedder was given.
        """
        ...

    async def learn_strategy(self, query: Query) -> Strategy:
        """Which choices helped users like this one, with intervals, and hints that follow."""
        ...

    async def auto_consolidate(
        self, namespace: str, criteria: ConsolidationCriteria
    ) -> Consolidation:
        """Group episodes, weigh their evidence, and store the groups that pass as skills."""
        ...

    async def skills(self, namespace: str) -> list[Skill]:
        """All skills of the namespace, by id."""
        ...

    async def put_skill(self, skill: Skill) -> None:
        """Store a skill; same id: replaced."""
        ...

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        """Retire a skill; whether it was there.

        Raises: CapabilityError if the bank can't.
        """
        ...

    async def forget(self, namespace: str, user_key: str) -> int:
        """Remove a user's patterns, and skills that the user is in; how many patterns went.

        Raises: CapabilityError if the bank can't.
        """
        ...

    async def stats(self, namespace: str) -> StoreStats:
        """Counts of the namespace."""
        ...
