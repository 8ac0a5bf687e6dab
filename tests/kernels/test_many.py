"""Many adapters in one call: the same as one call for each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.exact import Array, assert_close, case_of

from lorabank.kernels import NUMPY, Kernel

few = settings(max_examples=40, deadline=None)


def slabs_of(
    count: int, blocks: int, rank: int, dim: int, seed: int, padding: int = 0
) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    shape = (blocks, 2 * rank * dim + padding)
    return tuple(rng.standard_normal(shape).astype(np.float32) for _ in range(count))


def views(slabs: tuple[Array, ...], slot: int, rank: int, dim: int) -> tuple[Array, Array]:
    block = slabs[slot // len(slabs[0])][slot % len(slabs[0])]
    A, B = block[: rank * dim], block[rank * dim : 2 * rank * dim]
    return A.reshape(rank, dim), B.reshape(dim, rank)


def equal(kernel: Kernel, found: Array, expected: Array) -> None:
    """To the bit, except numpy's, whose batched products sum in another order."""
    if kernel is NUMPY:
        assert_close(found, expected)
    else:
        assert found.tobytes() == expected.tobytes()


@few
@given(
    dim=st.integers(1, 70),
    rank=st.integers(1, 9),
    users=st.integers(1, 30),
    padding=st.sampled_from([0, 3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_forward_of_many_is_forward_of_each(
    kernel: Kernel, dim: int, rank: int, users: int, padding: int, seed: int
) -> None:
    rank = min(rank, dim)
    rng, slabs = np.random.default_rng(seed), slabs_of(3, 5, rank, dim, seed, padding)
    slots, scales = rng.integers(0, 15, users), rng.uniform(0.1, 2.0, users)
    rows = rng.permutation(users + 2)[:users]
    X = rng.standard_normal((users + 2, dim)).astype(np.float32)
    out, each = np.full_like(X, 7.0), np.full_like(X, 7.0)
    assert kernel.forward_many(slabs, rank, slots, scales, rows, X, out) == -1
    for slot, scale, row in zip(slots, scales, rows, strict=True):
        assert kernel.forward(*views(slabs, slot, rank, dim), scale, X[row], each[row])
    equal(kernel, out, each)
    alike = out.copy()
    kernel.forward_many(slabs, rank, slots, scales[:1], rows, X, out)
    kernel.forward_many(slabs, rank, slots, np.full(users, scales[0]), rows, X, alike)
    assert out.tobytes() == alike.tobytes()


def test_outputs_beyond_the_caches_are_the_same(kernel: Kernel) -> None:
    """A large output may be written past the caches, row by row where it is aligned for that."""
    dim, rank, users = 64, 4, 20_000
    slabs = slabs_of(1, 8, rank, dim, 0)
    X = np.tile(np.random.default_rng(0).standard_normal((8, dim), np.float32), (users // 8, 1))
    slots, scales = np.arange(users) % 8, np.ones(users)
    memory = np.empty(users * dim + 16, np.float32)
    for shift in (0, 1, 8):  # floats
        out = memory[shift : shift + users * dim].reshape(users, dim)
        assert kernel.forward_many(slabs, rank, slots, scales, np.arange(users), X, out) == -1
        first = np.empty_like(X[:8])
        kernel.forward_many(slabs, rank, slots[:8], scales[:8], np.arange(8), X[:8], first)
        equal(kernel, out, np.tile(first, (users // 8, 1)))


def test_forward_of_many_names_the_first_bad_row(kernel: Kernel) -> None:
    slabs, X = slabs_of(1, 4, 2, 9, 0), case_of(4, 9, 2, 0).X
    X[2, 8], X[3, 0] = np.nan, np.inf
    out = np.full_like(X, 7.0)
    slots, scales = np.arange(4), np.ones(4)
    for rows in (np.arange(4), np.array([3, 1, 2, 0])):
        assert kernel.forward_many(slabs, 2, slots, scales, rows, X, out) == 2
        assert (out[2:] == 7.0).all()
        assert (out[:2] != 7.0).all()


@few
@given(
    dim=st.integers(1, 70),
    rank=st.integers(1, 9),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    weighted=st.booleans(),
    in_place=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_update_of_many_is_update_of_each(
    kernel: Kernel,
    dim: int,
    rank: int,
    lengths: list[int],
    weighted: bool,
    in_place: bool,
    seed: int,
) -> None:
    rank, n = min(rank, dim), len(lengths)
    rng, slabs = np.random.default_rng(seed), slabs_of(4, 4, rank, dim, seed)
    before = tuple(slab.copy() for slab in slabs)
    order = rng.permutation(16)
    sources = order[:n].copy()
    targets = sources if in_place else order[n : 2 * n].copy()
    starts = np.cumsum([0, *lengths])
    stretches = np.stack([starts[:-1], starts[1:]], axis=1)[rng.permutation(n)]
    c = case_of(int(starts[-1]), dim, rank, seed, weighted=weighted)
    scales, rates, clips = rng.uniform(0.1, 1.0, (3, n))
    if in_place:
        scales, rates, clips = (np.full(n, one[0]) for one in (scales, rates, clips))
    numbers = [one[:1] for one in (scales, rates, clips)] if in_place else [scales, rates, clips]
    results = np.full((n, 3), np.nan)
    kernel.mse_update_many(
        slabs, rank, sources, targets, *numbers, stretches, c.X, c.T, c.weights, results
    )
    for i in range(n):
        part = slice(*stretches[i])
        w = None if c.weights is None else c.weights[part]
        energy, _ = kernel.mse_sums(c.X[part], c.T[part], w)
        A, B = views(before, sources[i], rank, dim)
        A_out, B_out = np.empty_like(A), np.empty_like(B)
        error, norm = kernel.mse_update(
            A, B, scales[i], c.X[part], c.T[part], w, energy, rates[i], clips[i], A_out, B_out
        )
        found_A, found_B = views(slabs, targets[i], rank, dim)
        assert found_A.tobytes() == A_out.tobytes()
        assert found_B.tobytes() == B_out.tobytes()
        assert tuple(results[i]) == (error, energy, norm)
    for slot in set(range(16)) - set(targets.tolist()):
        assert (views(slabs, slot, rank, dim)[0] == views(before, slot, rank, dim)[0]).all()


@pytest.mark.parametrize("fault", ["nan", "zeros", "overflow"])
def test_one_bad_user_changes_nobody_else(kernel: Kernel, fault: str) -> None:
    slabs, c = slabs_of(1, 3, 2, 20, 0), case_of(3, 20, 2, 0)
    before = slabs[0].copy()
    c.X[1] = {"nan": np.nan, "zeros": 0.0, "overflow": 1e25}[fault]
    results, ones = np.zeros((3, 3)), np.ones(3)
    slots, stretches = np.arange(3), np.arange(3)[:, None] + np.arange(2)
    kernel.mse_update_many(
        slabs, 2, slots, slots, ones, ones, ones, stretches, c.X, c.T, None, results
    )
    assert not math.isfinite(results[1, 2])
    assert (slabs[0][1] == before[1]).all()
    assert (slabs[0][[0, 2]] != before[[0, 2]]).any(axis=1).all()
    assert np.isfinite(results[[0, 2]]).all()
