"""Cost of an update with a population's experts, against a plain one at the same ranks.

    OMP_NUM_THREADS=1 .venv/bin/python -m pytest bench/benchmarks/bench_experts.py \
        -o python_files='bench_*.py' -o python_functions='bench_*' --benchmark-enable \
        --benchmark-only -n 0

What is timed is the update with experts. Its ratio to a plain one is in ``extra_info``: both take
turns in one run, and the median of the CPU time of each is taken, so that whatever else the
machine does falls on both alike. "Same ranks": the user's adapter and the shared one have the same
rank in both; a plain update has no shared adapter, and knows no item vectors but the pool's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import anyio.from_thread
import numpy as np
import pytest

from lorabank import Adapter, EmbeddingSpace, EngineConfig, Feedback, ItemPool, Weights
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.population import (
    Expert,
    ItemToItem,
    Population,
    Residuals,
    SharedAdapter,
    Transitions,
)

ITEMS, ROUNDS, NEIGHBOURS = 9_000, 60, 64
shapes = pytest.mark.parametrize(("dim", "rank"), [(64, 8), (256, 8), (256, 32), (384, 16)])
batches = pytest.mark.parametrize("batch", [1, 10])
crowds = pytest.mark.parametrize("groups", [0, 2], ids=["6 experts + own", "8 experts + own"])


def make_population(dim: int, rank: int, groups: int, rng: np.random.Generator) -> Population:
    """All kinds of experts, with the sizes that MovieLens gives."""
    names = ["shared", *(f"group:{i}" for i in range(groups))]
    adapters = tuple(
        SharedAdapter(name, weights(dim, rank, rng), float(rank), "lora", ()) for name in names
    )
    some = np.arange(0, ITEMS, 3)
    vectors = rng.normal(size=(len(some), dim)).astype(np.float32) / 20
    table = np.concatenate([rng.permutation(ITEMS)[:NEIGHBOURS] for _ in range(ITEMS)])
    starts = np.arange(0, NEIGHBOURS * ITEMS + 1, NEIGHBOURS)
    ones = np.ones(len(table), np.float32)
    experts = [
        Expert("identity", None, False, 4.0, 0.8),
        Expert("popularity", None, False, 0.0, 1.2),
        Expert("neighbours", None, False, 0.0, 0.8, 0.0, 1.0, gain=0.1),
        Expert("shared", "shared", False, 4.0, 0.8, gain=0.3),
        Expert("shared+residuals", "shared", True, 4.0, 0.8, 1.0, gain=0.4),
        Expert(
            "shared+residuals+neighbours+transitions", "shared", True, 4.0, 0.8, 1.0, 1.0, 0.6, 1.0
        ),
    ]
    experts += [Expert(name, name, True, 4.0, 0.8, 1.0, gain=0.4) for name in names[1:]]
    return Population(
        space=EmbeddingSpace("bench", dim),
        items=ITEMS,
        adapters=adapters,
        residuals=Residuals(some, vectors, np.zeros(len(some), np.float32)),
        neighbours=ItemToItem(starts, table.astype(np.int32), ones, 20, 0.85),
        experts=tuple(experts),
        user_keys=(),
        transitions=Transitions(some, vectors, 20, 0.7),
    )


def weights(dim: int, rank: int, rng: np.random.Generator) -> Weights:
    return Weights(rng.normal(size=(rank, dim)) / 16, rng.normal(size=(dim, rank)) / 16)


def cpu(call: Callable[[], Adapter]) -> tuple[Adapter, float]:
    """The result, and the milliseconds of CPU time that all threads spent on it."""
    started = time.process_time()
    return call(), 1e3 * (time.process_time() - started)


@shapes
@batches
@crowds
@pytest.mark.timeout(600)
@pytest.mark.benchmark(group="update with experts")
def bench_update(benchmark: Any, dim: int, rank: int, batch: int, groups: int) -> None:
    """One user with experts and one without, in turns, on the same feedback."""
    rng = np.random.default_rng(0)
    pool = ItemPool(rng.normal(size=(ITEMS, dim)) / dim**0.5, rng.integers(0, 100, ITEMS))
    population = make_population(dim, rank, groups, rng)
    config = EngineConfig(population.space, rank=rank, objective="contrastive")
    plain, mixed = Engine(config, items=pool), Engine(config, items=pool)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(plain),
        portal.wrap_async_context_manager(mixed),
    ):
        portal.call(mixed.use_population, population)
        adapters = {e: portal.call(e.create_adapter, "user") for e in (plain, mixed)}
        spent: dict[Engine, list[float]] = {plain: [], mixed: []}

        def update(engine: Engine, feedback: Feedback) -> Adapter:
            return portal.call(engine.update_adapter, adapters[engine], feedback).adapter

        for _ in range(ROUNDS):
            x = rng.normal(size=(batch, dim)) / dim**0.5
            feedback = Feedback(x, items=rng.integers(0, ITEMS, batch))
            for engine in (plain, mixed):
                adapters[engine], ms = cpu(lambda: update(engine, feedback))  # noqa: B023
                spent[engine].append(ms)
        benchmark.pedantic(update, args=(mixed, feedback), rounds=20)
    medians = {e: statistics.median(values[5:]) for e, values in spent.items()}
    benchmark.extra_info["plain_cpu_ms"] = round(medians[plain], 3)
    benchmark.extra_info["experts_cpu_ms"] = round(medians[mixed], 3)
    benchmark.extra_info["ratio"] = round(medians[mixed] / medians[plain], 2)
