"""Retrieve from agentic-flow at growing sizes, cold and warm.

``PYTHONPATH=. uv run python bench/benchmarks/agentic_flow.py SERVER [MCP_PROXY]`` with the paths of
``agentdb-mcp-server.js`` and mcp-proxy (``uv run python -m tests.agentic_flow.real_server``
installs both and prints them). Writes a Markdown table. Times in milliseconds.

Cold: the local view was dropped, so everything is read from the remote first. Pause: the longest
that the event loop stood still in such a read, less what it stands still beside a thread that only
computes (best of three). Warm: median and 99th percentile of 200 retrieves with other queries each.
Store one: an episode that is there is replaced (median of 20). Journal: the part of that in which
lorabank kept what the server may not have saved yet (on the disk, where the server is its own).
``SIZES=5000`` in the environment measures that size alone. How long updates wait for such a bank:
`agentic_flow_budget.py`.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import anyio
import numpy as np
from tests.agentic_flow.real_server import http_server

from lorabank import (
    EmbeddingSpace,
    Hyperparameters,
    Outcome,
    Pattern,
    Query,
    StandardBank,
)
from lorabank_agentic_flow import AgenticFlowStore, open_store
from lorabank_agentic_flow.database import prepare_database
from lorabank_conformance.heartbeat import computing, longest_pause

SIZES = tuple(map(int, os.environ.get("SIZES", "100,1000,5000").split(",")))
DIM, K, WARM, BATCH = 256, 5, 200, 500
SPACE = EmbeddingSpace("bench", DIM)


def pattern(number: int, row: np.ndarray) -> Pattern:
    """A typical episode."""
    return Pattern(
        id=f"p{number:06}",
        namespace="default",
        user_key=f"{number % 97:032x}",
        task="film preferences",
        context=row,
        objective="contrastive",
        rank=8,
        hyperparameters=Hyperparameters(),
        selection="default",
        propensity=1.0,
        samples=4,
        created_at=1.7e9 + number,
        critique="gain 0.3: better than identity",
        outcome=Outcome(0.6, 0.9, 1 / 3, 0.7, True),
    )


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    start = perf_counter()
    await work()
    return 1000 * (perf_counter() - start)


@contextmanager
def keeping_timed(store: AgenticFlowStore) -> Iterator[list[float]]:
    """Milliseconds that the journal took, write by write."""
    found: list[float] = []
    keeping, save = store._keeping, store._keeping.save

    async def timed_save() -> None:
        found.append(await timed(save))

    keeping.save = timed_save
    try:
        yield found
    finally:
        keeping.save = save


async def measure(store: AgenticFlowStore, name: str) -> None:
    """Rows of the table for one transport."""
    bank = StandardBank(store)
    await bank.bind(SPACE)
    rows = np.random.default_rng(0).normal(size=(SIZES[-1], DIM)).astype(np.float32)
    stored = 0
    for size in SIZES:
        spent = 0.0
        while stored < size:
            batch = [pattern(i, rows[i]) for i in range(stored, min(size, stored + BATCH))]
            spent += await timed(lambda batch=batch: bank.store_patterns(batch))
            stored += len(batch)
        colds, warms, pauses = [], [], []
        query = Query(context=rows[0], k=K)
        for _ in range(3):
            store._mirror.forget()
            colds.append(await timed(lambda query=query: bank.retrieve_patterns(query)))
            store._mirror.forget()
            pause = await longest_pause(lambda query=query: bank.retrieve_patterns(query))
            pauses.append(1000 * (pause - await longest_pause(computing)))
        for number in range(WARM):
            query = Query(context=rows[number % size], k=K)
            warms.append(await timed(lambda query=query: bank.retrieve_patterns(query)))
        with keeping_timed(store) as kept:
            singles = [
                await timed(lambda i=i: bank.store_pattern(pattern(i, rows[i]))) for i in range(20)
            ]
        warms.sort()
        cells = [
            statistics.median(colds),
            max(0.0, min(pauses)),
            warms[WARM // 2],
            warms[int(0.99 * WARM)],
            statistics.median(singles),
            statistics.median(kept),
        ]
        numbers = " | ".join(f"{cell:.2f}" for cell in cells)
        sys.stdout.write(f"| {name} | {size} | {numbers} |\n")


async def main(server: Path, proxy: bool) -> None:
    """The whole table."""
    sys.stdout.write(
        "| transport | episodes | cold | pause | warm median | warm p99 | store one | journal |\n"
    )
    sys.stdout.write("|" + "---|" * 8 + "\n")
    with tempfile.TemporaryDirectory() as place:
        url = f"agentic-flow+stdio://{place}/a.db?server={server}&timeout=60"
        async with open_store(url) as store:
            await measure(store, "stdio")
        if not proxy:
            return
        for name, options in (("HTTP", ""), ("HTTP, refresh=0", "&refresh=0")):
            database = Path(place, f"{len(options)}.db")
            prepare_database(database, server)
            with http_server(database) as address:
                url = f"agentic-flow+http://{address}/mcp?timeout=60{options}"
                async with open_store(url) as store:
                    await measure(store, name)


def machine() -> str:
    """One line about the machine and how busy it was."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return (
        f"Machine: {next(names, platform.processor())}, {os.cpu_count()} cores, "
        f"{platform.system()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f} at the end."
    )


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), len(sys.argv) > 2)
    sys.stdout.write(f"\n{machine()}\n")
