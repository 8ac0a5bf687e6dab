"""What is hot is bounded, and who was unused for longest goes first."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank import Adapter, EmbeddingSpace, Weights
from lorabank.arena import Arena, in_order
from lorabank.personalizer.hot import Hot, HotAdapters
from lorabank.personalizer.places import ROW

ARENA = Arena(3, 1)
USERS = [f"user {number}" for number in range(60)]


def hot(user: str, read_at: float = 0.0) -> Hot:
    weights = Weights(np.ones((1, 3), np.float32), np.ones((3, 1), np.float32))
    lease = ARENA.put(weights)
    adapter = Adapter(user, lease.weights(), 2.0, "lora", "mse", EmbeddingSpace("test", 3))
    return Hot(adapter, 1, read_at, lease)


def found(adapters: HotAdapters, users: list[str]) -> np.ndarray | None:
    table = np.empty(len(users), ROW)
    return table if adapters.find(users, np.empty(len(users), np.int64), table) else None


numbers = st.integers(0, len(USERS) - 1)
steps = st.one_of(
    st.tuples(st.sampled_from(["put", "get", "drop"]), numbers.map(lambda number: [number])),
    st.tuples(st.just("find"), st.lists(numbers, min_size=1, max_size=30)),
)


class Model:
    """The same with an ordered dictionary."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: OrderedDict[str, Hot] = OrderedDict()

    def put(self, user: str, one: Hot) -> None:
        self.held[user] = one
        self.held.move_to_end(user)
        while len(self.held) > self.capacity:
            self.held.popitem(last=False)

    def find(self, users: list[str]) -> list[Hot] | None:
        if any(user not in self.held for user in users):
            return None
        for user in users:
            self.held.move_to_end(user)
        return [self.held[user] for user in users]


@settings(max_examples=60, deadline=None)
@given(capacity=st.integers(1, 50), plan=st.lists(steps, max_size=200))
def test_the_one_unused_for_longest_goes(capacity: int, plan: list[tuple[str, list[int]]]) -> None:
    own, model = HotAdapters(capacity, 1 << 40), Model(capacity)
    for turn, (step, chosen) in enumerate(plan):
        users, version = [USERS[number] for number in chosen], own.version
        if step == "put":
            one = hot(users[0], turn)
            own.put(users[0], one)
            model.put(users[0], one)
        elif step == "drop":
            own.drop(users[0])
            model.held.pop(users[0], None)
        elif step == "get":
            assert own.get(users[0]) is (model.find(users) or [None])[0]
        else:
            table, expected = found(own, users), model.find(users)
            assert (table is None) == (expected is None)
            if table is not None and expected is not None:
                assert table["slot"].tolist() == [one.lease.slot for one in expected]
                assert table["read_at"].tolist() == [one.read_at for one in expected]
        assert step in ("put", "drop") or own.version == version
        assert {one.adapter.user_id for one in own} == model.held.keys()
        assert own.nbytes == sum(one.nbytes for one in own)


def test_thousands_go_in_the_order_of_their_last_uses() -> None:
    """More than one look for the oldest finds, and used in between."""
    users = [f"user {number}" for number in range(3000)]
    own, model, rng = HotAdapters(3000, 1 << 40), Model(3000), np.random.default_rng(0)
    for user in [*users, *(f"new {number}" for number in range(3000))]:
        one = hot(user)
        own.put(user, one)
        model.put(user, one)
        if rng.random() < 0.1 and len(model.held) == 3000:
            chosen = rng.choice(list(model.held), 50).tolist()
            assert found(own, chosen) is not None
            assert model.find(chosen) is not None
            assert {one.adapter.user_id for one in own} == model.held.keys()
    assert {one.adapter.user_id for one in own} == model.held.keys()


def test_what_goes_while_somebody_reads_keeps_its_slot() -> None:
    own = HotAdapters(2, 1 << 40)
    own.put("ada", hot("ada"))
    table = found(own, ["ada"])
    assert table is not None
    slot, kept = int(table["slot"][0]), len(ARENA)
    with own.lasting(), own.lasting():
        own.put("ada", hot("ada"))
        own.drop("ada")
        others = [hot("other") for _ in range(5)]
        assert slot not in [one.lease.slot for one in others]
        assert len(ARENA) == kept + 6
    assert len(ARENA) == kept + 4
    del others


@pytest.mark.parametrize("room", [1, 15, 10_000])
@pytest.mark.parametrize("twice", [False, True])
def test_slots_in_order(room: int, twice: bool) -> None:
    rng = np.random.default_rng(room)
    slots = rng.choice(500 * room, 500, replace=twice)
    for some in (slots, np.sort(slots), slots[:1]):
        ordered, which = in_order(some)
        assert (ordered == np.sort(some)).all()
        assert (some[which] == ordered).all()
        assert sorted(which.tolist()) == list(range(len(some)))
