"""Cost of one operation as things grow: it should stay flat, or the page says where it does not."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, thread_time

import faiss
import numpy as np

from lorabank import (
    Adapter,
    EmbeddingSpace,
    EngineConfig,
    Personalizer,
    Query,
    Weights,
    open_bank,
)
from lorabank.bank import StandardBank
from lorabank.types.arrays import FloatArray
from lorabank_bench.episodes import filled
from lorabank_bench.looping import in_loop
from lorabank_bench.measuring import case
from lorabank_bench.results import Figure, Results
from lorabank_bench.setup import Setup, feedback, trained, unit_rows
from lorabank_bench.throughput import Load, in_a_process
from lorabank_faiss import FaissStore

SIZES = (1_000, 10_000, 100_000, 1_000_000)
# Users that are asked for in one round, whatever the number of users there are.
ASKED = 1_000


def scaling(setup: Setup, results: Results) -> None:
    """Users, patterns, callers, rows."""
    sizes = SIZES[:2] if setup.quick else SIZES
    _pool(setup, results, sizes)
    in_loop(lambda: _store(results, sizes))
    in_loop(lambda: _patterns(setup, results, sizes))
    _callers(setup, results)
    _rows(setup, results)


def _curve(
    results: Results, what: str, subject: str, unit: str, points: Sequence[tuple[int, float]]
) -> None:
    """Figures of one curve, each relative to the first."""
    section, first = f"scaling: {what}", points[0]
    for size, value in points:
        ratio, reference = value / first[1], f"what it is at {first[0]:,}"
        results.add(Figure(section, subject, f"{size:,}", value, unit, ratio, reference))


def _pool(setup: Setup, results: Results, sizes: Sequence[int]) -> None:
    """Some users of a pool, drawn at random: beyond the cache each block comes from memory.

    Slots are visited in rising order, as `Arena.group` puts them.
    """
    points = []
    for users in sizes:
        asked, rng = min(users, 10_000), np.random.default_rng(1)
        pool, X = np.full((users, 2 * 4 * 64), 0.01, np.float32), unit_rows(asked, 64)
        slots, rows = np.sort(rng.choice(users, asked, replace=False)), rng.permutation(asked)
        arguments = ((pool,), 4, slots, np.ones(asked), rows, X, np.empty_like(X))
        work = partial(setup.kernel.forward_many, *arguments)
        times = setup.time([case("many", work, thread_time)])
        points.append((users, 1e9 * times.median("many") / asked))
    _curve(results, "users in a pool, 64/r4", "forward_many, each user", "ns", points)


async def _store(results: Results, sizes: Sequence[int]) -> None:
    """Users in the SQLite store: read one that is not hot, and learn for one."""
    reads: list[tuple[int, float]] = []
    learns: list[tuple[int, float]] = []
    space = EmbeddingSpace("bench", 16)
    config = EngineConfig(space, rank=2)
    batch = feedback(4, 16)
    x = batch.x[0]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "app.db")
        url, there = f"sqlite:///{path}", 0
        for users in sizes:
            async with Personalizer.open(config, store=url):
                pass
            _insert(path, range(there, users))
            there = users
            picks = np.random.default_rng(3).choice(users, min(users, ASKED), replace=False)
            async with Personalizer.open(config, store=url, hot_adapters=1) as p:
                for seconds, work in (
                    (reads, lambda user: p.transform(f"user {user}", x)),
                    (learns, lambda user: p.learn(f"user {user}", batch)),
                ):
                    spent = []
                    for user in picks.tolist():
                        started = perf_counter()
                        await work(user)
                        spent.append(perf_counter() - started)
                    seconds.append((users, 1e6 * float(np.median(spent))))
    _curve(results, "users in SQLite, 16/r2", "transform of a cold user", "us", reads)
    _curve(results, "users in SQLite, 16/r2", "learn, one caller", "us", learns)


def _insert(path: Path, users: range) -> None:
    """Adapters put into the file directly: through `learn` a million would take minutes."""
    start = trained(16, 2)
    db = sqlite3.connect(path)
    rows = (
        (name, 0, user, Adapter(name, Weights(start.A, start.B), 2.0, "lora", "mse", start.space))
        for user, name in ((user, f"user {user}") for user in users)
    )
    with db:
        db.executemany(
            "INSERT INTO adapters VALUES (?, ?, ?, ?)",
            ((name, version, revision, one.to_bytes()) for name, version, revision, one in rows),
        )
    db.close()


async def _patterns(setup: Setup, results: Results, sizes: Sequence[int]) -> None:
    """Patterns in each bank at dim 64, with FAISS flat beside them.

    The vectors are independent: for the faiss backend's index, text-like ones are easier.
    """
    flats, curves, index = [], {}, faiss.IndexFlatIP(64)
    faiss.omp_set_num_threads(1)
    queries = unit_rows(30, 64, 1)
    with tempfile.TemporaryDirectory() as place:
        for name, url in (("memory", "memory://"), ("faiss", f"faiss:///{place}/bank")):
            curves[name] = await _bank_curve(url, queries, sizes)
    there = 0
    for size in sizes:
        index.add(unit_rows(size - there, 64, size))
        there = size
        flat = case("flat", partial(index.search, queries[:1], 5))
        flats.append((size, 1e6 * setup.time([flat]).median("flat")))
    for name, points in curves.items():
        _curve(results, "patterns, dim 64", f"{name} bank, retrieve", "us", points)
    _curve(results, "patterns, dim 64", "FAISS flat", "us", flats)


async def _bank_curve(
    url: str, queries: FloatArray, sizes: Sequence[int]
) -> Sequence[tuple[int, float]]:
    """Microseconds of a retrieval from one bank as it grows."""
    points, there = [], 0
    async with open_bank(url, space=EmbeddingSpace("bench", 64)) as bank:
        for size in sizes:
            await filled(bank, unit_rows(size - there, 64, size), there)
            there = size
            if isinstance(bank, StandardBank) and isinstance(bank.store, FaissStore):
                await bank.store.settle()  # the index is built in the background
            spent = []
            for row in queries:
                started = perf_counter()
                await bank.retrieve_patterns(Query(context=row, k=5))
                spent.append(perf_counter() - started)
            points.append((size, 1e6 * float(np.median(spent))))
    return points


def _callers(setup: Setup, results: Results) -> None:
    """Callers of `learn` at once; the cost is the time between two updates that are done."""
    points = []
    users, updates = (500, 500) if setup.quick else (5_000, 5_000)
    for callers in (1, 4, 16, 64, 256):
        asked = updates // 5 if callers == 1 else updates
        found = in_a_process(Load(64, 4, callers, users, asked))
        points.append((callers, 1e6 / found["updates_per_second"]))
    _curve(results, "callers at once, SQLite, 64/r4", "learn, time per update", "us", points)


def _rows(setup: Setup, results: Results) -> None:
    """Rows in a batch: transform and one step, per row."""
    adapter = trained(384, 8, setup.kernel)
    transforms, steps = [], []
    for count in (1, 10, 100, 1000):
        batch = feedback(count, 384)
        x, target, out = batch.x, batch.target, np.empty_like(batch.x)
        assert target is not None
        A, B, new = adapter.A, adapter.B, (np.empty_like(adapter.A), np.empty_like(adapter.B))
        settings = (x, target, None, 1.0, 0.1, 1.0, *new)
        step = case("step", partial(setup.kernel.mse_update, A, B, 1.0, *settings))
        forward = case("forward", partial(adapter.transform, x, out=out))
        times = setup.time([forward, step])
        transforms.append((count, 1e9 * times.median("forward") / count))
        steps.append((count, 1e9 * times.median("step") / count))
    _curve(results, "rows in a batch, 384/r8", "transform, each row", "ns", transforms)
    _curve(results, "rows in a batch, 384/r8", "step, each row", "ns", steps)
