"""Many users in one call, beside the memory's own speed."""

from __future__ import annotations

import numpy as np

from lorabank.types.arrays import FloatArray
from lorabank_bench.bandwidth import Memory
from lorabank_bench.measuring import Case, case, interleaved
from lorabank_bench.results import Figure, Results
from lorabank_bench.setup import Setup, unit_rows

USERS = {(64, 4): 100_000, (384, 8): 20_000}


def many(setup: Setup, results: Results) -> None:
    """`Kernel.forward_many` and `Kernel.mse_update_many`, one row for each user, random order."""
    memory = Memory(1 << 22 if setup.quick else 1 << 26)
    for (dim, rank), most in USERS.items():
        users = most // 50 if setup.quick else most
        pool = blocks(users, dim, rank)
        rows = unit_rows(users, dim)
        cases = [
            memory.read(),
            memory.read_modify_write(),
            forward_many(setup, pool, dim, rank, rows),
            update_many(setup, pool, dim, rank, rows),
        ]
        times = interleaved(cases, rounds=5 if setup.quick else 9, seconds=0.1)
        held, what = pool.nbytes, f"{users} users, {dim}/r{rank}"
        for name, reference, factor, limit in (
            ("forward_many", "read", 1, 0.8),
            ("update_many", "rmw", 2, 0.5),
        ):
            gain = times.ratio(reference, name) * held / memory.nbytes
            speed = factor * held / times.median(name) / 1e9
            ratio_to = f"{'read' if factor == 1 else 'read-modify-write'} bandwidth"
            results.add(Figure("many users", what, name, speed, "GB/s", gain, ratio_to))
            each = 1e9 * times.median(name) / users
            results.add(Figure("many users", what, f"{name}, each user", each, "ns"))
            found = f"{gain:.0%}"
            results.mark(f"{name}, {what}", f">= {limit:.0%} of {ratio_to}", found, gain >= limit)
        for name, factor in (("read", 1), ("rmw", 2)):
            speed = factor * memory.nbytes / times.median(name) / 1e9
            results.add(Figure("many users", "memory, one thread", name, speed, "GB/s"))


def blocks(users: int, dim: int, rank: int) -> FloatArray:
    """Adapters of many users side by side, (users, 2 * rank * dim)."""
    pool: FloatArray = np.empty((users, 2 * rank * dim), np.float32)
    pool[:] = 0.01 * np.random.default_rng(0).standard_normal(pool.shape[1], np.float32)
    return pool


def forward_many(setup: Setup, pool: FloatArray, dim: int, rank: int, rows: FloatArray) -> Case:
    """One row for each of some users, in random order."""
    slots = np.random.default_rng(1).permutation(len(pool))[: len(rows)].astype(np.int64)
    scales, out = np.ones(len(rows)), np.empty_like(rows)
    kernel = setup.kernel
    assert dim == rows.shape[1]
    work = lambda: kernel.forward_many((pool,), rank, slots, scales, rows, out)  # noqa: E731
    return case("forward_many", work)


def update_many(setup: Setup, pool: FloatArray, dim: int, rank: int, rows: FloatArray) -> Case:
    """One row for each of some users, in random order, in place."""
    count = len(rows)
    slots = np.random.default_rng(2).permutation(len(pool))[:count].astype(np.int64)
    ones, starts = np.ones(count), np.arange(count + 1)
    target, found, kernel = 0.5 * rows, np.empty((count, 3)), setup.kernel
    assert dim == rows.shape[1]

    def work() -> None:
        settings = (slots, slots, ones, 1e-3 * ones, ones)
        kernel.mse_update_many((pool,), rank, *settings, starts, rows, target, None, found)

    return case("update_many", work)
