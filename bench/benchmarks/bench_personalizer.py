"""Throughput of `Personalizer.learn`: 256 callers at once, 10,000 users, SQLite on a disk.

    .venv/bin/python -m pytest bench/benchmarks/bench_personalizer.py -o python_files='bench_*.py' \
        -o python_functions='bench_*' --benchmark-enable --benchmark-only -n 0 \
        --benchmark-json=out.json

``extra_info`` of each: updates per second, latency of a call in milliseconds (256 callers wait for
each other, so it is about 256 / rate), CPU milliseconds per update, and the peak memory of the
process so far. Users are drawn at random; at first each is new, so the clock starts after a first
pass over all of them, unless the "new users" are what is measured.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from lorabank import EmbeddingSpace, EngineConfig, Feedback, Personalizer

CALLERS, USERS, UPDATES, ROWS = 256, 10_000, 10_000, 8
shapes = pytest.mark.parametrize(("dim", "rank"), [(64, 4), (384, 8)])
banks = pytest.mark.parametrize("bank", [None, "memory://"], ids=["no-bank", "memory-bank"])

Learn = Callable[[int], Awaitable[object]]


async def by_all_callers(users: list[int], learn: Learn) -> list[float]:
    """Everybody takes the next user until none is left; how long each call took, in seconds."""
    left, seconds = iter(users), []

    async def caller() -> None:
        for user in left:
            started = time.perf_counter()
            await learn(user)
            seconds.append(time.perf_counter() - started)

    async with anyio.create_task_group() as tasks:
        for _ in range(CALLERS):
            tasks.start_soon(caller)
    return seconds


async def measure(dim: int, rank: int, bank: str | None, known: bool, path: Path) -> dict[str, Any]:
    """Numbers of one run."""
    rng = np.random.default_rng(0)
    config = EngineConfig(EmbeddingSpace("bench", dim), rank=rank)
    inputs = rng.standard_normal((64, ROWS, dim)).astype(np.float32)
    batches = [Feedback(x, 0.5 * x) for x in inputs]
    async with Personalizer.open(config, store=f"sqlite:///{path}", bank=bank) as p:

        async def learn(user: int) -> None:
            await p.learn(f"user {user}", batches[user % len(batches)])

        if known:
            await by_all_callers(list(range(USERS)), learn)
        cpu, started = time.process_time(), time.perf_counter()
        latencies = await by_all_callers(rng.integers(0, USERS, UPDATES).tolist(), learn)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    p50, p99 = np.percentile(latencies, [50, 99])
    return {
        "updates_per_second": round(UPDATES / wall),
        "p50_ms": round(1e3 * p50, 1),
        "p99_ms": round(1e3 * p99, 1),
        "cpu_ms_per_update": round(1e3 * cpu / UPDATES, 3),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "file_mb": os.stat(path).st_size >> 20,  # noqa: PTH116
        "machine": machine(),
    }


def machine() -> str:
    """What the numbers were measured on, and how busy it was."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    return (
        f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, load {load:.1f}"
    )


@shapes
@banks
@pytest.mark.timeout(600)
@pytest.mark.parametrize("known", [True, False], ids=["known users", "new users"])
def bench_learn(
    benchmark: Any, tmp_path: Path, dim: int, rank: int, bank: str | None, known: bool
) -> None:
    """One run of 10,000 updates."""
    path = tmp_path / "app.db"
    found = benchmark.pedantic(anyio.run, (measure, dim, rank, bank, known, path), rounds=1)
    benchmark.extra_info.update(found)
