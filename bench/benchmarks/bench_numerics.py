"""Time of one update step, with and without EWC++, mse and contrastive. `lorabank-bench` has the
forward pass and the plain step, beside other libraries.

    .venv/bin/python -m pytest bench/benchmarks -o python_files='bench_*.py' \
        -o python_functions='bench_*' --benchmark-enable --benchmark-only -n 0
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lorabank.adaptation.step import Decision, adapt, prepare
from lorabank.adapter import Adapter, Objective
from lorabank.config import EngineConfig, RlsConfig
from lorabank.numerics.lora import initial_matrices
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.items import ItemPool
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

ITEMS = 2000
dims = pytest.mark.parametrize("dim", [64, 384, 768])
ranks = pytest.mark.parametrize("rank", [4, 8, 16])
batches = pytest.mark.parametrize("batch", [1, 10, 50])


def adapter_of(config: EngineConfig) -> Adapter:
    rng = np.random.default_rng(0)
    A, B = initial_matrices(rng, config.rank, config.space.dim)
    B += 0.01 * rng.normal(size=B.shape).astype(np.float32)
    return Adapter(
        "u", Weights(A, B), config.effective_alpha, "lora", config.objective, config.space, tau=10.0
    )


def config_of(dim: int, rank: int, objective: Objective, ewc_strength: float = 0.0) -> EngineConfig:
    defaults = Hyperparameters(ewc_strength=ewc_strength)
    space = EmbeddingSpace("bench", dim)
    return EngineConfig(space, rank=rank, objective=objective, defaults=defaults)


def rows(n: int, dim: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    X = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X


def _bench_update(benchmark: Any, config: EngineConfig, feedback: Feedback, pool: ItemPool) -> None:
    adapter, decision = adapter_of(config), Decision(config.defaults)
    rng = np.random.default_rng(0)

    def update() -> None:
        batch = prepare(adapter, feedback, config, pool, rng)
        adapt(adapter, batch, decision, config, rng, lambda: 0.0)

    benchmark(update)


@dims
@ranks
@batches
@pytest.mark.parametrize("ewc", [0.0, 100.0], ids=["plain", "ewc"])
@pytest.mark.benchmark(group="update, mse")
def bench_update_mse(benchmark: Any, dim: int, rank: int, batch: int, ewc: float) -> None:
    feedback = Feedback(rows(batch, dim), rows(batch, dim, 2))
    _bench_update(benchmark, config_of(dim, rank, "mse", ewc), feedback, ItemPool(rows(2, dim)))


@dims
@ranks
@batches
@pytest.mark.parametrize("ewc", [0.0, 100.0], ids=["plain", "ewc"])
@pytest.mark.benchmark(group="update, contrastive with 256 of 2000 items")
def bench_update_contrastive(benchmark: Any, dim: int, rank: int, batch: int, ewc: float) -> None:
    feedback = Feedback(rows(batch, dim), items=np.arange(batch))
    config = config_of(dim, rank, "contrastive", ewc)
    _bench_update(benchmark, config, feedback, ItemPool(rows(ITEMS, dim)))


@dims
@batches
@pytest.mark.parametrize("forgetting", [1.0, 0.99])
@pytest.mark.benchmark(group="update, mse, recursive least squares at rank 8")
def bench_update_rls(benchmark: Any, dim: int, batch: int, forgetting: float) -> None:
    feedback = Feedback(rows(batch, dim), rows(batch, dim, 2))
    config = replace(config_of(dim, 8, "mse"), solver="rls", rls=RlsConfig(forgetting=forgetting))
    _bench_update(benchmark, config, feedback, ItemPool(rows(2, dim)))
