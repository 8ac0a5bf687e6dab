"""Random histories of a store beside the memory backend, as a hypothesis state machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from lorabank.protocols import Capability, PatternStore, Refusal
from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_conformance.compare import assert_ranking, assert_same
from lorabank_conformance.samples import NOW, Samples, outcome, trial
from lorabank_conformance.stores.session import Session

# Few of each, so that histories meet the same things again.
NAMES = st.sampled_from(["a", "b", "B", "c'", "d%", "\xe9"])
USERS = st.sampled_from(["ada", "bob", "_"])
TIMES = st.sampled_from([NOW, NOW + 1, NOW + 2])
REWARDS = st.sampled_from([0.0, 0.3, 0.1 + 0.2, 1.0])
COORDINATES = st.lists(st.sampled_from([-1, 0, 1]), min_size=4, max_size=4)
SECOND = st.booleans()
CHANGES = st.fixed_dictionaries(
    {
        "user_key": USERS,
        "created_at": TIMES,
        "objective": st.sampled_from(["mse", "contrastive"]),
        "rank": st.sampled_from([4, 8]),
        "outcome": st.none() | st.builds(outcome, REWARDS, success=st.booleans()),
        "trial": st.none() | st.just(trial()),
        "task": st.text(max_size=3).filter(lambda text: text.isprintable()),
    }
)
FILTERS = st.just(EVERYTHING) | st.builds(
    PatternFilter,
    user_key=st.none() | USERS,
    exclude_user_key=st.none() | USERS,
    min_reward=st.none() | REWARDS,
    success=st.none() | st.booleans(),
    since=st.none() | TIMES,
    until=st.none() | TIMES,
    has_trial=st.none() | st.booleans(),
)
DRAFTS = st.lists(st.tuples(NAMES, SECOND, COORDINATES, CHANGES), min_size=1, max_size=5)


class History(RuleBasedStateMachine):
    """Operations on two namespaces; each answer is compared with the memory backend's."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session, self.make = session, Samples(session.space)
        session.histories += 1
        self.number = session.histories

    @rule(drafts=DRAFTS)
    def put(self, drafts: list[tuple[str, bool, list[int], dict[str, Any]]]) -> None:
        """Store some patterns at once."""
        patterns = [self._pattern(*draft) for draft in drafts]
        self.session.both(lambda store: store.put_many(patterns))

    @rule(second=SECOND, ids=st.lists(NAMES, unique=True))
    def get(self, second: bool, ids: list[str]) -> None:
        """Read by id."""
        assert_same(*self.session.both(lambda store: store.get(self._namespace(second), ids)))

    @rule(second=SECOND, row=COORDINATES, k=st.integers(0, 8), where=FILTERS)
    def search(self, second: bool, row: list[int], k: int, where: PatternFilter) -> None:
        """Search; every candidate is known from the oracle."""
        query, namespace = self._vector(row), self._namespace(second)
        found, _ = self.session.both(lambda store: store.search(namespace, query, k, where))
        oracle = self.session.oracle
        passing = self.session.call(lambda: oracle.scan(namespace, where, None, 1000))
        assert_ranking(found, passing, query, k)
        assert_same(
            sorted((match.pattern for match in found), key=lambda p: p.id),
            [p for p in passing if p.id in {match.pattern.id for match in found}],
        )

    @rule(second=SECOND, where=FILTERS, after=st.none() | NAMES, limit=st.integers(0, 5))
    def scan(self, second: bool, where: PatternFilter, after: str | None, limit: int) -> None:
        """Read a page."""
        namespace = self._namespace(second)
        assert_same(*self.session.both(lambda store: store.scan(namespace, where, after, limit)))

    @precondition(lambda self: Capability.DELETE in self.session.store.capabilities)
    @rule(second=SECOND, where=FILTERS)
    def delete(self, second: bool, where: PatternFilter) -> None:
        """Delete what passes."""
        got, want = self.session.both(lambda store: store.delete(self._namespace(second), where))
        assert got == want, f"{got} deleted, not {want}"

    @precondition(lambda self: Capability.REFUSE in self.session.store.capabilities)
    @rule(second=SECOND, user=USERS, until=TIMES)
    def refuse(self, second: bool, user: str, until: float) -> None:
        """Leave out what a user does up to then; before the last of `TIMES`, so not everything."""
        namespace = self._namespace(second)

        async def refuse(store: PatternStore) -> None:
            assert isinstance(store, Refusal)
            await store.refuse(namespace, user, until - 1)

        self.session.both(refuse)

    @rule(second=SECOND, skill_id=NAMES, user=USERS)
    def put_skill(self, second: bool, skill_id: str, user: str) -> None:
        """Store a skill."""
        namespace = self._namespace(second)
        skill = self.make.skill(skill_id, namespace=namespace, user_keys=(user,))
        self.session.both(lambda store: store.put_skill(skill))

    @precondition(lambda self: Capability.DELETE_SKILL in self.session.store.capabilities)
    @rule(second=SECOND, skill_id=NAMES)
    def delete_skill(self, second: bool, skill_id: str) -> None:
        """Delete a skill."""
        namespace = self._namespace(second)
        got, want = self.session.both(lambda store: store.delete_skill(namespace, skill_id))
        assert got is want

    @rule(second=SECOND)
    def look(self, second: bool) -> None:
        """List and count."""
        namespace = self._namespace(second)
        assert_same(*self.session.both(lambda store: store.list_skills(namespace)))
        got, want = self.session.both(lambda store: store.stats(namespace))
        assert (got.patterns, got.skills) == (want.patterns, want.skills)

    @precondition(lambda self: Capability.DURABLE in self.session.store.capabilities)
    @rule()
    def reopen(self) -> None:
        """Close the store and open it again."""
        self.session.close()
        self.session.open()

    def _pattern(
        self, pattern_id: str, second: bool, row: list[int], changes: dict[str, Any]
    ) -> Pattern:
        namespace = self._namespace(second)
        return self.make.pattern(pattern_id, self._vector(row), namespace=namespace, **changes)

    def _vector(self, row: list[int]) -> FloatArray:
        vector = np.zeros(self.session.space.dim, np.float32)
        vector[:4] = row
        if self.session.space.normalised:
            vector /= np.float32(max(float(np.linalg.norm(vector)), 1.0))
        return vector

    def _namespace(self, second: bool) -> str:
        return f"history {self.number}{' second' if second else ''}"
