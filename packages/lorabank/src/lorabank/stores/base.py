"""What an adapter store must give.

Laws that hold for every implementation:

- `commit` is one transaction: adapter, episodes and experience are all there or none is. What it
  returned from survives the process if the store is durable.
- `commit` compares and swaps: it raises `VersionConflictError`, and changes nothing, unless what
  is stored has the expected revision (None: no adapter is stored). Each commit gives a revision
  that the user never had before. The adapter's own version would not do: it begins again when a
  user is forgotten and comes back, and an adapter kept from before would pass for the new one.
- Cancelling a write leaves the old state or the new one, and what was cancelled before it began
  never happens later.
- Queued episodes are read in the order in which they were committed, and stay until `settle`.
- A user key that was forgotten refuses episodes made up to that moment.
- What is owed to the bank is written down in the same transaction that makes it owed: `forget` owes
  the bank's part, due `GRACE` seconds later (until then its caller is at it); a `settle` that tells
  of a forgotten user owes it at once. It stays owed until it is discharged.
- A population is stale once one of its users is forgotten, also if that happens between the reading
  of the experiences that it is made of and `put_population`. A stale one names the forgotten user
  no more, and is served until it is replaced.
- Faults are `StoreError`s: `StoreUnavailableError` if trying again later may work,
  `StoreClosedError` after `aclose`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from lorabank.adapter import Adapter
from lorabank.types.feedback import Feedback
from lorabank.types.pattern import Pattern

DutyKind: TypeAlias = Literal["forget", "rebuild"]
GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Experience:
    """Feedback for the replay, of one (hashed) user, at unix seconds ``created_at``."""

    user_key: str
    feedback: Feedback
    created_at: float


@dataclass(frozen=True, slots=True)
class Stored:
    """An adapter as a store holds it; ``revision`` is what the next commit must expect."""

    adapter: Adapter
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit writes.

    Attributes:
        adapter: the new adapter.
        user_key: keyed hash of its user.
        expected: revision that must be stored now; None if there must be none.
        episodes: finished episodes to queue for the bank.
        experience: feedback for the replay, or None.
    """

    adapter: Adapter
    user_key: str
    expected: int | None
    episodes: tuple[Pattern, ...] = ()
    experience: Experience | None = None


@dataclass(frozen=True, slots=True)
class QueuedEpisode:
    """An episode that waits to be delivered; ``number`` grows with each commit."""

    number: int
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Duty:
    """What is owed to the bank, whoever dies meanwhile.

    Attributes:
        kind: "forget" the user whose key it is, or "rebuild" the skills that lost a user.
        key: the user's, or "".
        number: another one each time that it is owed anew.
        since: unix seconds at which the user was forgotten, from stores that processes share; it
            is what the bank is told to refuse the user's earlier episodes by.
    """

    kind: DutyKind
    key: str
    number: int
    since: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class PopulationRecord:
    """What a store is given of a population.

    Attributes:
        body: the population as bytes; the store does not look into them.
        user_keys: of the users whose feedback is in it.
        created_at: unix seconds at which the experiences that it is made of were read.
    """

    body: bytes
    user_keys: tuple[str, ...]
    created_at: float


@dataclass(frozen=True, slots=True)
class PopulationState:
    """What is stored of a namespace's population, without its body.

    Attributes:
        generation: another number for each that is put; no number comes back.
        stale: whether one of its users was forgotten since, so that it has to be made again.
    """

    generation: int
    stale: bool


@dataclass(frozen=True, slots=True)
class StoredPopulation:
    """A population's bytes, with the state that they were read in."""

    body: bytes
    state: PopulationState


@dataclass(frozen=True, slots=True)
class ForgetCounts:
    """What `forget` removed, or what `remains` found of a user.

    ``populations`` are those that named the user as one of theirs. ``erased`` is whether the bytes
    are gone from the store's files as well; if not, another process was reading, and they go with
    the next forgetting, or as the files are written over.
    """

    adapters: int
    episodes: int
    experiences: int
    populations: int = 0
    erased: bool = field(default=True, compare=False)

    @property
    def total(self) -> int:
        """Rows of all kinds."""
        return self.adapters + self.episodes + self.experiences + self.populations


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """How much a store holds."""

    adapters: int
    queued: int
    dead: int
    experiences: int
    experience_bytes: int


@runtime_checkable
class AdapterStore(Protocol):
    """Adapters of many users, with their outbox and replay. See the module's laws."""

    async def get(self, user_id: str) -> Stored | None:
        """The user's adapter with its revision, or None."""
        ...

    async def commit(self, change: Change) -> int:
        """Write all of a change or nothing; returns the new revision.

        Raises: VersionConflictError if the stored revision is not the expected one.
        """
        ...

    async def delete(self, user_id: str) -> bool:
        """Remove the adapter alone; whether it was there."""
        ...

    async def scan(self, after: str | None, limit: int) -> list[str]:
        """At most ``limit`` user ids, ascending, those after ``after``."""
        ...

    async def queued(self, limit: int) -> list[QueuedEpisode]:
        """The oldest episodes that wait, at most ``limit``."""
        ...

    async def settle(self, episodes: Sequence[QueuedEpisode], dead: str | None = None) -> list[str]:
        """Take episodes off the queue: delivered, or put aside as ``dead`` with a reason.

        Those that somebody else took off meanwhile are left as they are. Returns the keys of the
        users who were forgotten since their episode was made: the bank was given something that
        it must forget again.
        """
        ...

    async def experiences(self, now: float) -> Mapping[str, Sequence[Feedback]]:
        """The replay: each (hashed) user's batches that are young enough at ``now``, in order."""
        ...

    async def put_population(self, namespace: str, population: PopulationRecord) -> PopulationState:
        """Store a namespace's population in place of the one before."""
        ...

    async def population_state(self, namespace: str) -> PopulationState | None:
        """What is stored there, without reading it all; None if there is none."""
        ...

    async def get_population(self, namespace: str) -> StoredPopulation | None:
        """The namespace's population, or None."""
        ...

    async def delete_population(self, namespace: str) -> bool:
        """Remove it; whether it was there."""
        ...

    async def forget(self, user_id: str, user_key: str, now: float) -> ForgetCounts:
        """Remove everything of a user in one transaction, and refuse what is older than ``now``."""
        ...

    async def remains(self, user_id: str, user_key: str) -> ForgetCounts:
        """What is there of a user, by looking."""
        ...

    async def owe(self, kind: DutyKind, key: str) -> None:
        """Note a duty, due at once. One that is noted already gets a new number."""
        ...

    async def duties(self, kind: DutyKind, now: float, key: str | None = None) -> list[Duty]:
        """Duties of a kind that are due at ``now`` (unix seconds), oldest first, some hundred at
        most; of one key if it is given."""
        ...

    async def discharge(self, duty: Duty) -> None:
        """It is done. Owed anew meanwhile, it stays."""
        ...

    async def lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        """Take or prolong a lease until ``now + seconds``; whether ``holder`` has it now.

        False, and nothing changes, while somebody else's lease lasts. With 0 seconds it is given
        back. Times are unix seconds of the callers' clocks, which must agree roughly.
        """
        ...

    async def counts(self) -> StoreCounts:
        """How much is there."""
        ...

    async def aclose(self) -> None:
        """Close for good; again: nothing happens."""
        ...
