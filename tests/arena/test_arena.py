"""Slots are handed out and reclaimed; many adapters in one call are each adapter's own call."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lorabank.arena import Arena, Lease, lease_of
from lorabank.errors import InvalidInputError
from lorabank.kernels import Kernel, open_kernel
from lorabank.types.weights import Weights

KERNELS = [open_kernel("numpy"), open_kernel("auto")]
kernels = pytest.mark.parametrize("kernel", KERNELS, ids=["numpy", "auto"])


def weights_of(seed: int, dim: int = 6, rank: int = 2) -> Weights:
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((rank, dim)), rng.standard_normal((dim, rank))
    return Weights(A.astype(np.float32), B.astype(np.float32))


def same(a: Weights, b: Weights) -> bool:
    return a.A.tobytes() == b.A.tobytes() and a.B.tobytes() == b.B.tobytes()


class Machine(RuleBasedStateMachine):
    """Against a dictionary: whatever is held keeps its values, and no slot is used twice."""

    def __init__(self) -> None:
        super().__init__()
        # Two blocks to a slab: growth is part of it.
        self.arena = Arena(6, 2, slab_bytes=256)
        self.leases: list[tuple[int, Lease]] = []
        self.views: list[tuple[int, Weights]] = []
        self.seed = 0
        self.peak = 0

    @rule()
    def put(self) -> None:
        self.seed += 1
        self.leases.append((self.seed, self.arena.put(weights_of(self.seed))))
        self.peak = max(self.peak, len(self.arena))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def look(self, data: Any) -> None:
        # By number: what hypothesis draws, it keeps.
        seed, lease = self.leases[data.draw(st.integers(0, len(self.leases) - 1))]
        self.views.append((seed, lease.weights()))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        del self.leases[data.draw(st.integers(0, len(self.leases) - 1))]

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def look_away(self, data: Any) -> None:
        del self.views[data.draw(st.integers(0, len(self.views) - 1))]

    @invariant()
    def everything_held_is_as_it_was(self) -> None:
        for seed, lease in self.leases:
            assert same(lease.weights(), weights_of(seed))
        for seed, view in self.views:
            assert same(view, weights_of(seed))

    @invariant()
    def slots_are_reclaimed_at_once(self) -> None:
        held = {seed for seed, _ in self.leases} | {seed for seed, _ in self.views}
        assert len(self.arena) == len(held)
        assert self.arena.nbytes <= 4 * 32 * (self.peak + 1)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_growing_moves_nothing() -> None:
    arena = Arena(6, 2, slab_bytes=256)
    first = arena.put(weights_of(0)).weights()
    address = first.A.__array_interface__["data"][0]
    held = [arena.put(weights_of(seed)) for seed in range(1, 50)]
    assert len(arena) == len(held) + 1
    assert first.A.__array_interface__["data"][0] == address
    assert same(first, weights_of(0))
    assert all(lease.weights().A.__array_interface__["data"][0] % 64 == 0 for lease in held)


def test_a_slab_that_was_made_elsewhere_is_used_next() -> None:
    arena = Arena(6, 2, slab_bytes=1024)  # eight blocks
    assert not arena.crowded
    held = [arena.put(weights_of(seed)) for seed in range(6)]
    assert not arena.crowded
    held.append(arena.put(weights_of(6)))
    assert arena.crowded
    slab = arena.new_slab()
    assert len(arena.slabs) == 1
    arena.add(slab)
    assert not arena.crowded
    held += [arena.put(weights_of(seed)) for seed in range(7, 14)]
    assert arena.slabs[1] is slab
    assert len(arena.slabs) == 2
    assert all(same(lease.weights(), weights_of(seed)) for seed, lease in enumerate(held))
    assert (slab[0] != 0).any()
    del held[3:]
    assert not arena.crowded


def test_views_are_read_only_and_know_their_lease() -> None:
    arena = Arena(2, 2)
    lease = arena.put(weights_of(0, 2, 2))
    weights = lease.weights()
    assert lease_of(weights) is lease
    for m in (weights.A, weights.B):
        with pytest.raises(ValueError, match="read-only"):
            m[0, 0] = 1.0
    # Views of the same slot in other places are not what is in the slot.
    assert lease_of(Weights(weights.B, weights.A)) is None
    assert lease_of(Weights(weights.A, weights.B.copy())) is None
    assert lease_of(weights_of(0, 2, 2)) is None


def test_an_adapter_that_is_read_elsewhere_keeps_its_slot() -> None:
    arena = Arena(6, 2)
    weights = arena.put(weights_of(1)).weights()
    others = [arena.put(weights_of(seed)) for seed in range(2, 9)]
    assert same(weights, weights_of(1))
    row = weights.A[0]
    del weights, others
    gc.collect()
    assert len(arena) == 1
    assert (row == weights_of(1).A[0]).all()


@kernels
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), users=st.integers(1, 20))
def test_forward_of_many_is_forward_of_each(kernel: Kernel, seed: int, users: int) -> None:
    rng, arena = np.random.default_rng(seed), Arena(33, 4, kernel, slab_bytes=5000)
    held = [arena.put(weights_of(i, 33, 4)) for i in range(users)]
    order = rng.integers(0, users, users)  # some twice, some not
    leases = [held[i] for i in order]
    scales = rng.uniform(0.1, 2.0, users)
    X = rng.standard_normal((users, 33)).astype(np.float32)
    out = arena.forward_many(leases, scales, X)
    for i in range(users):
        w, each = weights_of(int(order[i]), 33, 4), np.empty(33, np.float32)
        kernel.forward(w.A, w.B, scales[i], X[i], each)
        if kernel.name == "numpy":
            np.testing.assert_allclose(out[i], each, rtol=1e-5, atol=1e-5)
        else:
            assert out[i].tobytes() == each.tobytes()
    assert arena.forward_many(arena.group(leases), 1.0, X, out) is out


@kernels
def test_update_of_many_is_update_of_each_and_leaves_the_old(kernel: Kernel) -> None:
    rng, arena = np.random.default_rng(0), Arena(33, 4, kernel, slab_bytes=5000)
    leases = [arena.put(weights_of(i, 33, 4)) for i in range(7)]
    leases = [leases[i] for i in (3, 1, 6, 0, 2, 5, 4)]
    starts = np.cumsum([0, 3, 1, 2, 5, 1, 1, 4])
    X, T = rng.standard_normal((2, 17, 33)).astype(np.float32)
    found = arena.update_many(
        leases, 0.5, X, T, learning_rates=0.3, clip_thresholds=1.0, starts=starts
    )
    for i in range(7):
        w = weights_of((3, 1, 6, 0, 2, 5, 4)[i], 33, 4)
        rows = slice(starts[i], starts[i + 1])
        A, B = np.empty_like(w.A), np.empty_like(w.B)
        energy, _ = kernel.mse_sums(X[rows], T[rows], None)
        error, norm = kernel.mse_update(
            w.A, w.B, 0.5, X[rows], T[rows], None, energy, 0.3, 1.0, A, B
        )
        assert same(found.leases[i].weights(), Weights(A, B))
        assert (found.losses[i], found.norms[i]) == (error / energy, norm)
        assert same(leases[i].weights(), w)
    assert len(arena) == 14


@kernels
def test_in_place_it_is_the_same_without_new_slots(kernel: Kernel) -> None:
    rng, arena = np.random.default_rng(0), Arena(6, 2, kernel)
    leases = [arena.put(weights_of(i)) for i in range(5)]
    X, T = rng.standard_normal((2, 5, 6)).astype(np.float32)
    rates = {"learning_rates": 0.3, "clip_thresholds": 1.0}
    apart = arena.update_many(leases, 1.0, X, T, **rates)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="twice"):
        arena.update_many(leases[:1] * 5, 1.0, X, T, in_place=True, **rates)  # type: ignore[arg-type]
    assert all(same(lease.weights(), weights_of(i)) for i, lease in enumerate(leases))
    inside = arena.update_many(leases, 1.0, X, T, in_place=True, **rates)  # type: ignore[arg-type]
    for own, one, other in zip(leases, inside.leases, apart.leases, strict=True):
        assert own is one
        assert same(one.weights(), other.weights())
    assert len(arena) == 10


@kernels
@pytest.mark.parametrize("bad", [np.nan, 0.0, 1e30])
def test_a_bad_batch_changes_nothing(kernel: Kernel, bad: float) -> None:
    arena = Arena(6, 2, kernel)
    leases = [arena.put(weights_of(i)) for i in range(3)]
    X, T = np.random.default_rng(0).standard_normal((2, 3, 6)).astype(np.float32)
    X[1] = bad
    with pytest.raises(InvalidInputError, match="adapter 1"):
        arena.update_many(leases, 1.0, X, T, learning_rates=0.3, clip_thresholds=1.0)
    assert len(arena) == 3
    X[2] = X[1]  # in another place, to be named all the same
    with pytest.raises(InvalidInputError, match="adapter 1"):
        arena.update_many(leases[::-1], 1.0, X, T, learning_rates=0.3, clip_thresholds=1.0)
    assert all(same(lease.weights(), weights_of(i)) for i, lease in enumerate(leases))
    if bad:
        X[1] = np.inf
        with pytest.raises(InvalidInputError, match="row 1"):
            arena.forward_many(leases, 1.0, X)


def test_unfit_arguments_are_refused() -> None:
    arena, other = Arena(6, 2), Arena(6, 2)
    with pytest.raises(InvalidInputError, match="at most the dimension"):
        Arena(2, 3)
    with pytest.raises(InvalidInputError, match="weights"):
        arena.put(weights_of(0, 6, 3))
    with pytest.raises(InvalidInputError, match="of this arena"):
        arena.group([other.put(weights_of(0))])
    with pytest.raises(InvalidInputError, match="of this arena"):
        arena.group([])
    own, X = [arena.put(weights_of(i)) for i in range(2)], np.ones((3, 6), np.float32)
    rates = {"learning_rates": 0.3, "clip_thresholds": 1.0}
    with pytest.raises(InvalidInputError, match="X"):
        arena.forward_many(own, 1.0, X)
    with pytest.raises(InvalidInputError, match="starts"):
        arena.update_many(own, 1.0, X, X, **rates)  # type: ignore[arg-type]
    for starts in ([0, 1, 2], [1, 2, 3], [0, 3], [0, 1, 2, 3]):
        with pytest.raises(InvalidInputError, match="starts"):
            arena.update_many(own, 1.0, X, X, starts=np.array(starts), **rates)  # type: ignore[arg-type]
    del own
    assert len(arena) == 0
