"""Random histories of two adapter stores: the one that is proved, and the memory store."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from lorabank.config import ReplayConfig
from lorabank.errors import VersionConflictError
from lorabank.stores import AdapterStore, Experience, MemoryAdapterStore, PopulationRecord
from lorabank_conformance.adapters.base import Adapters, key_of
from lorabank_conformance.compare import differences

T = TypeVar("T")

# Small, so that histories run into every bound. Rows of the suite's batches take 36 bytes in 8
# dimensions.
REPLAY = ReplayConfig(max_bytes=500, max_rows_per_user=4, ttl=5.0)
USERS = st.sampled_from(["ada", "bob", "c'", "\xe9"])
WHEN = st.sampled_from([None, "stale", "current", "none"])
TIMES = st.integers(0, 3)


class Session:
    """Both stores, open for all histories: each starts by forgetting everybody.

    Args:
        portal: runs them.
        opener: of the store.
        patience: seconds that a call may take.
    """

    def __init__(
        self,
        portal: BlockingPortal,
        opener: Callable[[], AbstractAsyncContextManager[AdapterStore]],
        patience: float,
    ) -> None:
        self._portal, self._opener, self._patience = portal, opener, patience
        self._opened: AbstractContextManager[AdapterStore] | None = None
        self.oracle: AdapterStore = MemoryAdapterStore(REPLAY)
        self.now = 1000.0
        self.version = 0

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open the store, again."""
        self._opened = self._portal.wrap_async_context_manager(self._opener())
        self.store = self._opened.__enter__()

    def close(self) -> None:
        """Close the store."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.__exit__(None, None, None)

    def both(self, work: Callable[[AdapterStore], Awaitable[T]]) -> tuple[T, T]:
        """What the store answers, and what the oracle does."""
        stores = (self.store, self.oracle)
        got, want = (self._portal.call(self._bounded, work, store) for store in stores)
        return got, want

    async def _bounded(
        self, work: Callable[[AdapterStore], Awaitable[T]], store: AdapterStore
    ) -> T:
        with anyio.fail_after(self._patience):
            return await work(store)


class History(RuleBasedStateMachine):
    """Operations on both; every answer but the revisions themselves is compared."""

    def __init__(self, session: Session, build: Adapters, *, durable: bool) -> None:
        super().__init__()
        self.session, self.build, self.durable = session, build, durable
        # By user: the revisions that either store has given, newest last.
        self.revisions: dict[str, list[tuple[int, int]]] = {}
        self.session.now += 100.0
        for user in ("ada", "bob", "c'", "\xe9"):
            self.forget(user)
        for namespace in ("one", "two"):
            session.both(functools.partial(_without_population, namespace=namespace))

    @rule(user=USERS, when=WHEN, late=TIMES, episodes=st.integers(0, 2), seen=st.integers(0, 6))
    def commit(self, user: str, when: str | None, late: int, episodes: int, seen: int) -> None:
        """Commit at the current revision, an old one, or none."""
        session, key = self.session, key_of(user)
        session.version += 1
        version, at = session.version, session.now - late
        patterns = tuple(self.build.episode(f"{version}-{i}", user, at) for i in range(episodes))
        change = replace(self.build.change(user, version), episodes=patterns)
        if seen:
            experience = Experience(key, self.build.batch(seen, version), session.now)
            change = replace(change, experience=experience)
        mine, theirs = self._expected(user, when)

        async def attempt(store: AdapterStore) -> int | None:
            expected = mine if store is session.store else theirs
            try:
                return await store.commit(replace(change, expected=expected))
            except VersionConflictError:
                return None

        got, want = session.both(attempt)
        assert (got is None) == (want is None)
        if got is not None and want is not None:
            self.revisions.setdefault(user, []).append((got, want))

    def _expected(self, user: str, when: str | None) -> tuple[int | None, int | None]:
        known = self.revisions.get(user, [])
        if when == "stale" and known:
            return known[0]
        if when == "none" or not known:
            return None, None
        return known[-1]

    @rule(user=USERS)
    def get(self, user: str) -> None:
        """Read an adapter."""
        got, want = self.session.both(lambda store: store.get(user))
        assert (got is None) == (want is None)
        if got is not None and want is not None:
            assert not list(differences(got.adapter, want.adapter))
            assert (got.revision, want.revision) == self.revisions[user][-1]

    @rule(user=USERS)
    def delete(self, user: str) -> None:
        """Remove an adapter."""
        got, want = self.session.both(lambda store: store.delete(user))
        assert got is want

    @rule(after=st.none() | USERS, limit=st.integers(0, 4))
    def scan(self, after: str | None, limit: int) -> None:
        """Read a page."""
        got, want = self.session.both(lambda store: store.scan(after, limit))
        assert got == want

    @rule(limit=st.integers(0, 4))
    def queued(self, limit: int) -> None:
        """Look at the queue."""
        self._compare_queue(limit)

    @rule(limit=st.integers(1, 4), forgotten=st.none() | USERS, dead=st.none() | st.just("no"))
    def deliver(self, limit: int, forgotten: str | None, dead: str | None) -> None:
        """Settle some; a user may be forgotten meanwhile."""
        got, want = self._compare_queue(limit)
        if forgotten is not None:
            self.forget(forgotten)
        found = {id(self.session.store): got, id(self.session.oracle): want}
        for _ in range(2):
            late, expected = self.session.both(lambda store: store.settle(found[id(store)], dead))
            assert late == expected

    def _compare_queue(self, limit: int) -> tuple[Any, Any]:
        got, want = self.session.both(lambda store: store.queued(limit))
        assert not list(differences(tuple(e.pattern for e in got), tuple(e.pattern for e in want)))
        return got, want

    @rule(user=USERS)
    def forget(self, user: str) -> None:
        """Forget a user."""
        now = self.session.now
        got, want = self.session.both(lambda store: store.forget(user, key_of(user), now))
        assert got == want

    @rule(
        users=st.sets(USERS),
        late=TIMES,
        namespace=st.sampled_from(["one", "two"]),
        delete=st.booleans(),
    )
    def population(self, users: set[str], late: int, namespace: str, delete: bool) -> None:
        """Read a population; replace it by one made of what was known a while ago, or remove it."""
        got, want = self.session.both(lambda store: store.get_population(namespace))
        assert (got is None) is (want is None)
        if got is not None and want is not None:
            assert (got.body, got.state.stale) == (want.body, want.state.stale)
        if delete:
            removed, expected = self.session.both(lambda store: store.delete_population(namespace))
            assert removed is expected
            return
        self.session.version += 1
        body = str(self.session.version).encode()
        keys = tuple(map(key_of, sorted(users)))
        record = PopulationRecord(body, keys, self.session.now - late)
        new, other = self.session.both(lambda store: store.put_population(namespace, record))
        assert new.stale is other.stale

    @rule(seconds=st.sampled_from([0.5, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.session.now += seconds

    @rule()
    def experiences(self) -> None:
        """Read the replay."""
        got, want = self.session.both(lambda store: store.experiences(self.session.now))
        assert got.keys() == want.keys()
        for key, batches in want.items():
            assert not list(differences(tuple(got[key]), tuple(batches)))

    @rule(user=USERS)
    def look(self, user: str) -> None:
        """Look at what is there."""
        got, want = self.session.both(lambda store: store.remains(user, key_of(user)))
        assert (got.adapters, got.episodes) == (want.adapters, want.episodes)
        assert got.populations == want.populations
        counts, expected = self.session.both(lambda store: store.counts())
        assert (counts.adapters, counts.queued) == (expected.adapters, expected.queued)

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        """Close the store and open it again."""
        self.session.close()
        self.session.open()


async def _without_population(store: AdapterStore, namespace: str) -> bool:
    return await store.delete_population(namespace)
