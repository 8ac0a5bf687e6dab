"""One run of `Personalizer.learn` by many callers, in a process of its own, so that its memory is
its own: ``python -m lorabank_bench.throughput '{"dim": 64, ...}'`` prints one JSON object.

What is imported is left out of collections of cycles, as a service does (`gc.freeze`).
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, Feedback, Personalizer
from lorabank_bench.beats import pauses
from lorabank_bench.plain_sqlite import rows_per_second

ROWS = 8


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of it.

    Attributes:
        dim, rank: of the adapters.
        callers: at once.
        users: there already when the clock starts; each call is for one at random.
        updates: calls on the clock.
        bank: a URL, or None.
        threshold: new objects after which Python collects cycles; None for its own (700).
    """

    dim: int
    rank: int
    callers: int
    users: int
    updates: int
    bank: str | None = None
    threshold: int | None = None


def in_a_process(load: Load) -> dict[str, Any]:
    """The numbers of one run.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", __name__, json.dumps(asdict(load))]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{load}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def measure(load: Load) -> dict[str, Any]:
    """Fill the store, then call from all sides."""
    rng = np.random.default_rng(0)
    config = EngineConfig(EmbeddingSpace("bench", load.dim), rank=load.rank)
    inputs = rng.standard_normal((64, ROWS, load.dim), np.float32)
    batches = [Feedback(x, 0.5 * x) for x in inputs]
    gc.freeze()
    if load.threshold is not None:
        gc.set_threshold(load.threshold)
    with tempfile.TemporaryDirectory() as place:
        store = f"sqlite:///{place}/app.db"
        async with Personalizer.open(config, store=store, bank=load.bank) as p:

            async def learn(user: int) -> None:
                await p.learn(f"user {user}", batches[user % len(batches)])

            await by_all(range(load.users), learn, load.callers)
            half = load.updates // 2
            calls = rng.integers(0, load.users, load.updates).tolist()
            cpu, started = time.process_time(), time.perf_counter()
            with pauses() as collections:
                seconds = await by_all(calls[:half], learn, load.callers)
                middle = resident()
                seconds += await by_all(calls[half:], learn, load.callers)
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu
            end = resident()
            size = bytes_in(Path(place))
        weights, batch = 8 * load.dim * load.rank, batches[0].nbytes
        sizes = (weights, batch, load.updates // 4, load.callers)
        plain = rows_per_second(Path(place), *sizes)
    p50, p99 = np.percentile(seconds, [50, 99])
    return {
        "updates_per_second": load.updates / wall,
        "plain_per_second": plain,
        "p50_ms": 1e3 * p50,
        "p99_ms": 1e3 * p99,
        "cpu_us_per_update": 1e6 * cpu / load.updates,
        "collecting_us_per_update": 1e6 * collections.total / load.updates,
        "longest_collection_ms": collections.longest((0, 1, 2)),
        "resident_mb_half": middle / 2**20,
        "resident_mb_end": end / 2**20,
        "file_mb": size / 2**20,
    }


async def by_all(
    users: Sequence[int], learn: Callable[[int], Awaitable[None]], callers: int
) -> list[float]:
    """Everybody takes the next user until none is left; seconds of each call."""
    left, seconds = iter(users), []

    async def caller() -> None:
        for user in left:
            started = time.perf_counter()
            await learn(user)
            seconds.append(time.perf_counter() - started)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return seconds


def bytes_in(folder: Path) -> int:
    """Of all its files."""
    return sum(path.stat().st_size for path in folder.iterdir())


def resident() -> float:
    """Bytes that this process holds now; 0 where that can't be seen."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0.0
    return float(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(anyio.run(measure, Load(**json.loads(sys.argv[1])))))
