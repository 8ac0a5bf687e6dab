"""How long an update waits for an agentic-flow bank that is slower than its budget.

``PYTHONPATH=. uv run python bench/benchmarks/agentic_flow_budget.py SERVER [MCP_PROXY]`` with the
paths of ``agentdb-mcp-server.js`` and mcp-proxy (``uv run python -m
tests.agentic_flow.real_server`` installs both and prints them). Writes a Markdown table. Times in
milliseconds.

The remote holds 5,000 episodes, and the client's view of them is dropped whenever it is there
again. So of the updates (1,000, each of a new user) nearly all wait for a read that takes longer
than their budget; those that did are counted. Update: the whole of `engine.update_adapter`, as the
clock on the wall says. Wait: its part that waited for the bank (`report.seconds.wait`). Over:
updates that took longer than the budget, and in brackets those of them in which the loop's thread
was without a processor, or the machine stood still, for as long as they were over (only Linux
tells). Full: the longest full collection of Python's garbage collector that fell into the updates,
and how many there were. The control is a loop beside which nothing runs: a sleep for as long as an
update may wait, which shows how late the machine wakes anybody.

Held: for how long this process itself kept the event loop from its turn (`lorabank_bench.beats`),
looked at every millisecond during a tenth as many more updates: 99th percentile of the looks, and
the worst. As long as that is less than what an update leaves of its budget (a quarter, at most 10),
only the machine makes it late.

Below the table: how many objects the collector walks, and what that takes, with what is imported
alone and with 5,000 episodes just stored (sql.js has not saved them yet) and read.

``FREEZE=1`` in the environment spares the garbage collector what was imported and stored;
``BUDGET=20`` is another budget, in milliseconds; ``UPDATES=100`` does fewer.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter, thread_time
from typing import NamedTuple

import anyio
import numpy as np
from bench.benchmarks.agentic_flow import BATCH, DIM, SPACE, machine, pattern
from tests.agentic_flow.real_server import http_server

from lorabank import (
    EngineConfig,
    Feedback,
    LoRAPersonalizationEngine,
    Query,
    QueryConfig,
    StandardBank,
)
from lorabank.waiting import patience
from lorabank_agentic_flow import AgenticFlowStore, open_store
from lorabank_agentic_flow.database import prepare_database
from lorabank_bench.beats import Beat, Pauses, Watch, beating, pauses
from lorabank_bench.stalls import Sentinels, Stalls, sentinels
from lorabank_conformance.scheduling import waits_for_a_processor

EPISODES = 5000
UPDATES = int(os.environ.get("UPDATES", "1000"))
BUDGET = float(os.environ.get("BUDGET", "100"))
FREEZE = os.environ.get("FREEZE") == "1"
DEADLINE = 60.0  # seconds; a read that is slower would have the engine ask no more for a while


def waited() -> float:
    """Milliseconds for which this thread was ready and had no processor, since it began."""
    return 1000 * waits_for_a_processor().get(str(threading.get_native_id()), 0.0)


class Update(NamedTuple):
    """One update: milliseconds of all of it, of its wait, and without a processor.

    ``until`` is the clock at its end, in seconds.
    """

    whole: float
    wait: float
    coreless: float
    until: float

    def excused(self, stalls: Stalls) -> bool:
        """Whether it was over for want of a machine."""
        stalled = 1000 * stalls.between(self.until - self.whole / 1000, self.until)
        return self.whole - self.coreless - stalled <= BUDGET


async def slow_updates(
    engine: LoRAPersonalizationEngine, store: AgenticFlowStore, name: str, count: int
) -> list[Update]:
    """Updates of new users while the bank reads all it holds, again and again."""
    rows = np.random.default_rng(1).normal(size=(count + 1, DIM)).astype(np.float32)
    found: list[Update] = []
    for number in range(count):
        if store._mirror._view is not None:
            # A write empties the server's cache of answers, which holds those of up to some 1,200
            # episodes (larger ones, as here, it does not keep).
            await store.put_many([pattern(0, rows[0])])
            store._mirror.forget()
        adapter = await engine.create_adapter(f"{name} {number}")
        feedback = Feedback(rows[number], rows[number + 1])
        before, start = waited(), perf_counter()
        result = await engine.update_adapter(adapter, feedback)
        until = perf_counter()
        whole = 1000 * (until - start)
        if result.report.cache == "timeout":
            wait = 1000 * result.report.seconds.wait
            found.append(Update(whole, wait, waited() - before, until))
    return found


async def sleeps(count: int) -> list[Update]:
    """What a wait costs where nothing else runs."""
    found: list[Update] = []
    for _ in range(count):
        before, start = waited(), perf_counter()
        await anyio.sleep(patience(BUDGET / 1000))
        until = perf_counter()
        took = 1000 * (until - start)
        found.append(Update(took, took, waited() - before, until))
    return found


def walked(when: str) -> str:
    """What a full collection without garbage is, in words."""
    gc.collect()
    start = thread_time()
    gc.collect()
    took = 1000 * (thread_time() - start)
    return f"A full collection {when}: {len(gc.get_objects()):,} objects, {took:.1f} ms of CPU."


async def filled(store: AgenticFlowStore) -> StandardBank:
    """A bank with episodes."""
    bank = StandardBank(store)
    await bank.bind(SPACE)
    rows = np.random.default_rng(0).normal(size=(EPISODES, DIM)).astype(np.float32)
    for start in range(0, EPISODES, BATCH):
        stop = start + BATCH
        await bank.store_patterns([pattern(i, rows[i]) for i in range(start, stop)])
    store._mirror.forget()
    await bank.retrieve_patterns(Query(context=rows[0], k=5))
    return bank


def row(
    name: str, updates: list[Update], collections: Pauses, beats: list[Beat], stalls: Stalls
) -> None:
    """One row of the table."""
    cells: list[str] = []
    for times in ([u.whole for u in updates], [u.wait for u in updates]):
        middle, late = np.percentile(times, (50, 99)).tolist()
        cells += [f"{middle:.1f}", f"{late:.1f}", f"{max(times):.1f}"]
    over = [update for update in updates if update.whole > BUDGET]
    excused = [update for update in over if update.excused(stalls)]
    mode = "frozen" if FREEZE else "as it is"
    full, held = collections.seconds[2], Watch.of(beats, stalls).held
    cells += [f"{len(over)} ({len(excused)})", f"{collections.longest((2,)):.1f} ({len(full)})"]
    cells += [f"{np.percentile(held, 99):.1f}", f"{held.max():.1f}"]
    numbers = " | ".join(cells)
    sys.stdout.write(f"| {name}, {mode} | {BUDGET:g} | {len(updates)} | {numbers} |\n")
    sys.stdout.flush()


async def control(watching: Sentinels) -> None:
    """The row of a loop beside which nothing runs."""
    with pauses() as collections:
        found = await sleeps(UPDATES)
    async with beating() as beats:
        await sleeps(UPDATES // 10)
    row("control", found, collections, beats, watching.stalls())


async def measure(store: AgenticFlowStore, name: str, watching: Sentinels) -> str:
    """The row of one transport; what the collector has to do with its episodes."""
    bank = await filled(store)
    held = walked(f"over {name}, with {EPISODES:,} episodes")
    if FREEZE:
        gc.freeze()
    query = QueryConfig(budget=BUDGET / 1000, deadline=DEADLINE)
    config = EngineConfig(space=SPACE, seed=1, query=query)
    async with LoRAPersonalizationEngine(config, bank=bank) as engine:
        with pauses() as collections:
            updates = await slow_updates(engine, store, "timed", UPDATES)
        async with beating() as beats:
            await slow_updates(engine, store, "watched", UPDATES // 10)
    row(name, updates, collections, beats, watching.stalls())
    if FREEZE:
        gc.unfreeze()
    return held


async def main(server: Path, proxy: bool, watching: Sentinels) -> None:
    """The whole table."""
    told = [walked("of what is imported")]
    sys.stdout.write(
        "| transport | budget | updates | update median | p99 | worst "
        "| wait median | p99 | worst | over | full | held p99 | worst |\n"
    )
    sys.stdout.write("|" + "---|" * 13 + "\n")
    await control(watching)
    with tempfile.TemporaryDirectory() as place:
        url = f"agentic-flow+stdio://{place}/a.db?server={server}&timeout=60"
        async with open_store(url) as store:
            told.append(await measure(store, "stdio", watching))
        if proxy:
            database = Path(place, "b.db")
            prepare_database(database, server)
            with http_server(database) as address:
                url = f"agentic-flow+http://{address}/mcp?timeout=60"
                async with open_store(url) as store:
                    told.append(await measure(store, "HTTP", watching))
    sys.stdout.write("\n" + "\n".join(told) + "\n")


if __name__ == "__main__":
    with sentinels() as watching:
        anyio.run(main, Path(sys.argv[1]), len(sys.argv) > 2, watching)
    sys.stdout.write(f"\n{machine()}\n")
