"""Whole updates of the engine: warm (the answer is cached) and cold (the bank is asked)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, thread_time

import faiss
import numpy as np

from lorabank import Adapter, EmbeddingSpace, EngineConfig, QueryConfig, TrialConfig, open_bank
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.bank import StandardBank
from lorabank.protocols import ReasoningBank
from lorabank.types.feedback import Feedback
from lorabank_bench.episodes import filled
from lorabank_bench.looping import in_loop
from lorabank_bench.measuring import case
from lorabank_bench.results import Figure, Results
from lorabank_bench.setup import Setup, feedback, trained, unit_rows
from lorabank_bench.suites.single import plain_step
from lorabank_faiss import FaissStore

DIM, RANK, BATCH = 384, 8, 10
SPACE = EmbeddingSpace("bench", DIM)
# Every update asks for a user's first answer; the budget is long enough for any bank to give it.
COLD = QueryConfig(budget=10.0, refresh_every=1, cache_entries=1)
WARM = QueryConfig(refresh_every=1_000_000)
WARM_MEDIAN = "Python objects, no part of them dominant: [a warm update](#a-warm-update)"
WARM_TAIL = (
    "updates that give way, in which episodes are delivered: [a warm update](#a-warm-update)"
)
COLD_BOUNDS = {
    "memory": "an exact search reads 154 MB: [a cold update](#a-cold-update)",
    "faiss": "some 150 calls of numpy, two of the loop: [a cold update](#a-cold-update)",
}
CPU = "CPU time of the loop's thread; wall time also counts what else the machine did"


def engine(setup: Setup, results: Results) -> None:
    """Warm with and without trials, and cold over 100k patterns."""
    for trials in (0.0, TrialConfig().probability):
        in_loop(partial(_warm, setup, results, trials))
    count = 2_000 if setup.quick else 100_000
    in_loop(lambda: _cold(setup, results, "memory://", count))
    with tempfile.TemporaryDirectory() as place:
        in_loop(lambda: _cold(setup, results, f"faiss:///{Path(place).as_posix()}/bank", count))


async def _warm(setup: Setup, results: Results, trials: float) -> None:
    config = EngineConfig(SPACE, rank=RANK, query=WARM, trials=TrialConfig(probability=trials))
    batch, count = feedback(BATCH, DIM), 1_000 if setup.quick else 10_000
    async with Engine(config, "memory://") as opened:
        adapter = await opened.create_adapter("user")
        for _ in range(200):
            adapter, report = await opened.update_adapter(adapter, batch)
        wall, cpu = await _in_a_row(opened, adapter, batch, count)
        assert opened.stats().cache_misses == 1, report.cache
    name = "no trials" if not trials else f"trials in {trials:.0%} (the default)"
    what = f"warm update, {count} in a row, {name}"
    at, y = trained(DIM, RANK), batch.target
    assert y is not None
    plain = setup.time([case("plain", lambda: plain_step(at.A, at.B, batch.x, y))])
    alone = 1e6 * plain.median("plain")
    median, tail = np.percentile(1e6 * wall, [50, 99])
    ratio, reference = median / alone, "plain numpy step"
    results.add(Figure("warm updates", what, "median", median, "us", ratio, reference))
    for percent in (90, 99, 99.9):
        value = float(np.percentile(1e6 * wall, percent))
        figure = Figure(
            "warm updates", what, f"p{percent:g}", value, "us", value / median, "median"
        )
        results.add(figure)
    middle, end = np.percentile(1e6 * cpu, [50, 99])
    results.add(Figure("warm updates", what, "median, CPU", middle, "us", note=CPU))
    results.add(Figure("warm updates", what, "p99, CPU", end, "us", end / middle, "median, CPU"))
    found = f"{median:.0f} us"
    results.mark(f"{what}: median", "<= 60 us", found, median <= 60, WARM_MEDIAN)
    found = f"{tail / median:.1f} x"
    results.mark(f"{what}: p99", "<= 4 x the median", found, tail <= 4 * median, WARM_TAIL)


async def _in_a_row(
    engine: Engine, adapter: Adapter, batch: Feedback, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Wall and CPU seconds of each update."""
    wall, cpu = np.empty(count), np.empty(count)
    for i in range(count):
        started, worked = perf_counter(), thread_time()
        adapter, _ = await engine.update_adapter(adapter, batch)
        wall[i], cpu[i] = perf_counter() - started, thread_time() - worked
    return wall, cpu


async def _cold(setup: Setup, results: Results, url: str, count: int) -> None:
    scheme = url.split(":", 1)[0]
    vectors = unit_rows(count, DIM)
    config = EngineConfig(SPACE, rank=RANK, query=COLD)
    async with open_bank(url, space=SPACE) as bank:
        await filled(bank, vectors)
        (first,) = await _asked(bank, config, 1)
        if isinstance(bank, StandardBank) and isinstance(bank.store, FaissStore):
            await bank.store.settle()  # the trials are read in the background when first asked for
        started = process_time()
        seconds = await _asked(bank, config, 50 if setup.quick else 200)
        worked = 1e3 * (process_time() - started) / len(seconds)
    flat = _flat(setup, vectors)
    median, tail = 1e3 * np.percentile(seconds, [50, 99])
    what = f"cold update, {count} patterns, {scheme}"
    ratio = median / flat
    results.add(Figure("cold updates", what, "median", median, "ms", ratio, "FAISS flat search"))
    results.add(Figure("cold updates", what, "p99", tail, "ms"))
    results.add(Figure("cold updates", what, "CPU, all threads", worked, "ms"))
    results.add(Figure("cold updates", what, "the first one", 1e3 * first, "ms"))
    results.add(Figure("cold updates", what, "FAISS flat search alone", flat, "ms"))
    results.mark(f"{what}: median", "<= 2 ms", f"{median:.2f} ms", median <= 2, COLD_BOUNDS[scheme])


async def _asked(bank: ReasoningBank, config: EngineConfig, count: int) -> Sequence[float]:
    seconds = []
    async with Engine(config, bank) as engine:
        for i in range(count):
            adapter = await engine.create_adapter(f"user {i}")
            batch = feedback(BATCH, DIM, i)
            started = perf_counter()
            _, report = await engine.update_adapter(adapter, batch)
            seconds.append(perf_counter() - started)
            assert report.cache == "miss", report.cache
    return seconds


def _flat(setup: Setup, vectors: np.ndarray) -> float:
    """Milliseconds of one exact search by FAISS, one thread."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    query = vectors[:1].copy()
    return 1e3 * setup.time([case("flat", lambda: index.search(query, 5))]).median("flat")
