"""Many users in one call, beside the memory's own speed.

What a call has to move is the adapters that it reads (and, to update them, writes), its inputs and
its outputs. The references move as many bytes as the adapters have: BLAS reads them once, or numpy
multiplies them by one in place. (A loop in C with AVX-512 read at the same speed as BLAS.) Times
are of the thread's processor: others on the machine count only for the memory that they move.
"""

from __future__ import annotations

import gc
import mmap
from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time

import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, Personalizer, Selection, Weights
from lorabank.arena import Arena, Group, Lease
from lorabank.types.arrays import FloatArray
from lorabank_bench.looping import in_loop
from lorabank_bench.measuring import Case, Timings, case, interleaved
from lorabank_bench.results import Figure, Results
from lorabank_bench.setup import Setup, unit_rows

USERS = {(64, 4): 100_000, (384, 8): 20_000}
# Users per call of `update_many` into new slots: those that learn at about the same time.
TOGETHER = 256
READ, REWRITE = "read", "read-modify-write"
NEW_SLOTS = "update_many into new slots"
SELECTED = "forward_many of a Selection"
AGAIN = "forward_many by user ids, the same list again"
OTHERS = "forward_many by user ids, another list each time"
ORDERS = ("in their slots' order", "in random order")
SECTION = "many users in one call"
WHY = "[many users](#many-users-at-once)"
IN_ORDER = f"misses, not arithmetic: {WHY}"
BOUNDS = {
    OTHERS: f"Python's dictionary, looked up for each id: {WHY}",
    "forward_many in random order": f"the memory's latency, not its bandwidth: {WHY}",
    "update_many in random order": f"the memory's latency, not its bandwidth: {WHY}",
}


def many(setup: Setup, results: Results) -> None:
    """`Arena.forward_many` and `Arena.update_many`, one row for each user, through groups."""
    for (dim, rank), most in USERS.items():
        pool = Pool(setup, most // 50 if setup.quick else most, dim, rank)
        median, longest = 1e6 * np.median(pool.puts), 1e6 * pool.puts.max()
        results.add(Figure(SECTION, "put into an arena, median", pool.what, median, "us"))
        what = "put into an arena that grows slab by slab, longest"
        results.add(Figure(SECTION, what, pool.what, longest, "us"))
        rounds = 5 if setup.quick else 9
        _report(results, pool, interleaved(pool.cases(), rounds=rounds, seconds=0.1))
        _report(results, pool, in_loop(partial(by_id, pool, rounds)))


class Pool:
    """An arena full of adapters, a group of all in each order, and an item for each.

    Attributes:
        what: the shape, for people.
        users, rank: how many, and of which rank.
        X, out: items of all, and room for the results.
        moved: bytes that a call has to move, by the name of its reference.
        adapters: those among them that are adapters'.
        puts: processor seconds of each of the calls that filled the arena.
    """

    def __init__(self, setup: Setup, users: int, dim: int, rank: int) -> None:
        rng = np.random.default_rng(0)
        self.what, self.users, self.rank = f"{users} users, {dim}/r{rank}", users, rank
        self._arena = Arena(dim, rank, setup.kernel)
        A = rng.standard_normal((rank, dim), np.float32) / np.float32(dim**0.5)
        weights = Weights(A, 0.01 * rng.standard_normal((dim, rank), np.float32))
        self.puts = np.empty(users)
        gc.disable()  # collections of cycles are no part of it
        leases = [self._put(weights, i) for i in range(users)]
        gc.enable()
        shuffled = [leases[i] for i in rng.permutation(users)]
        self._groups = dict(zip(ORDERS, map(self._arena.group, (leases, shuffled)), strict=True))
        together = range(0, users, TOGETHER)
        self._parts = [self._arena.group(leases[i : i + TOGETHER]) for i in together]
        self.X, self._T, self.out = (_fresh(users, dim) for _ in range(3))
        self.X[:] = unit_rows(users, dim)
        self._T[:] = 0.9 * self.X
        self.out[:] = 0.0
        held = users * rank * dim * 8
        self.adapters = {READ: held, REWRITE: 2 * held}
        self.moved = {name: size + 2 * self.X.nbytes for name, size in self.adapters.items()}
        self._flat = np.ones(held // 4, np.float32)

    def _put(self, weights: Weights, number: int) -> Lease:
        if self._arena.crowded:
            self._arena.add(self._arena.new_slab())  # a `Personalizer` does so in another thread
        started = thread_time()
        lease = self._arena.put(weights)
        self.puts[number] = thread_time() - started
        return lease

    def cases(self) -> list[Case]:
        """The references, and each call in each order."""
        flat, one = self._flat, np.float32(1.0)
        calls: dict[str, Callable[[], object]] = {
            READ: self.read,
            REWRITE: lambda: np.multiply(flat, one, out=flat),
            NEW_SLOTS: self._into_new_slots,
        }
        for how, group in self._groups.items():
            calls[f"forward_many {how}"] = partial(self._forward, group)
            calls[f"update_many {how}"] = partial(self._in_place, group)
        return [case(name, call, thread_time) for name, call in calls.items()]

    def read(self) -> None:
        """The reference."""
        np.vdot(self._flat, self._flat)

    def _forward(self, group: Group) -> None:
        self._arena.forward_many(group, 1.0, self.X, self.out)

    def _in_place(self, group: Group) -> None:
        """Rates so small that the adapters stay what they are."""
        rates = {"learning_rates": 1e-6, "clip_thresholds": 1.0}
        self._arena.update_many(group, 1.0, self.X, self._T, in_place=True, **rates)  # type: ignore[arg-type]

    def _into_new_slots(self) -> None:
        for i, group in enumerate(self._parts):
            part = slice(i * TOGETHER, (i + 1) * TOGETHER)
            rates = {"learning_rates": 0.3, "clip_thresholds": 1.0}
            self._arena.update_many(group, 1.0, self.X[part], self._T[part], **rates)  # type: ignore[arg-type]


async def by_id(pool: Pool, rounds: int) -> Timings:
    """`Personalizer.forward_many` of new users, beside the reference, by the wall's clock.

    Another list has the same users from another one on, so that all of them are looked up.
    """
    users, dim = pool.X.shape
    ids = [f"user {number}" for number in range(users)]
    config = EngineConfig(EmbeddingSpace("bench", dim), rank=pool.rank)
    found: dict[str, list[float]] = {READ: [], SELECTED: [], OTHERS: [], AGAIN: []}
    async with Personalizer.open(config, fresh_for=1e9, hot_adapters=users, hot_bytes=1 << 40) as p:
        selection = Selection(ids)
        await p.forward_many(selection, pool.X, pool.out)
        for turn in range(1, rounds + 1):
            others = ids[turn:] + ids[:turn]
            asked = {SELECTED: selection, OTHERS: others, AGAIN: list(others)}
            found[READ].append(case(READ, pool.read).run(1))
            for name, who in asked.items():
                started = perf_counter()
                await p.forward_many(who, pool.X, pool.out)  # type: ignore[arg-type]
                found[name].append(perf_counter() - started)
    return Timings(found)


def _fresh(rows: int, dim: int) -> FloatArray:
    """New memory in huge pages, which numpy asks for, but does not get where it uses old memory."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty((rows, dim), np.float32)
    memory = mmap.mmap(-1, 4 * rows * dim, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(rows, dim)


def _report(results: Results, pool: Pool, times: Timings) -> None:
    for name in times.rounds:
        reference = READ if "forward" in name or name == READ else REWRITE
        size = pool.adapters[reference]
        if name == reference and SELECTED in times.rounds:
            continue
        if name == reference:
            speed = size / times.median(name) / 1e9
            results.add(Figure(SECTION, f"{name}, alone", pool.what, speed, "GB/s"))
            continue
        moved, ratio = pool.moved[reference], times.ratio(reference, name)
        share = moved / size * ratio
        speed, bandwidth = moved / times.median(name) / 1e9, f"{reference} bandwidth"
        note = f"{ratio:.0%} with adapters alone counted"
        results.add(Figure(SECTION, name, pool.what, speed, "GB/s", share, bandwidth, note))
        each = 1e9 * times.median(name) / pool.users
        results.add(Figure(SECTION, name, f"{pool.what}: each user", each, "ns"))
        if name != NEW_SLOTS:
            limit = 0.8 if reference == READ else 0.5
            what = f"{name}, {pool.what}"
            goal, well = f">= {limit:.0%} of {bandwidth}", share >= limit
            results.mark(what, goal, f"{share:.0%}", well, BOUNDS.get(name, IN_ORDER))
