"""Time of encoding and decoding an adapter, and its bytes (``extra_info``).

The command is the one of ``bench_numerics.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lorabank.adaptation.anchoring import first_anchor
from lorabank.adapter import Adapter, Objective
from lorabank.numerics.lora import initial_matrices
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

dims = pytest.mark.parametrize("dim", [64, 384, 768])
ranks = pytest.mark.parametrize("rank", [4, 8, 16])
kinds = pytest.mark.parametrize("ewc", [False, True], ids=["plain", "ewc"])


def adapter_of(dim: int, rank: int, ewc: bool, objective: Objective = "contrastive") -> Adapter:
    """With EWC: as large as it gets, with the importance held since the last move."""
    A, B = initial_matrices(np.random.default_rng(0), rank, dim)
    weights, anchor = Weights(A, B), None
    if ewc:
        start = first_anchor(weights, objective)
        anchor = type(start)(weights, start.importance, held=start.importance)
    space = EmbeddingSpace("bench", dim)
    return Adapter("user", weights, float(rank), "lora", objective, space, anchor=anchor)


@dims
@ranks
@kinds
@pytest.mark.benchmark(group="encode")
def bench_encode(benchmark: Any, dim: int, rank: int, ewc: bool) -> None:
    adapter = adapter_of(dim, rank, ewc)
    benchmark.extra_info["bytes"] = len(adapter.to_bytes())
    benchmark(adapter.to_bytes)


@dims
@ranks
@kinds
@pytest.mark.benchmark(group="decode")
def bench_decode(benchmark: Any, dim: int, rank: int, ewc: bool) -> None:
    data = adapter_of(dim, rank, ewc).to_bytes()
    benchmark.extra_info["bytes"] = len(data)
    benchmark(Adapter.from_bytes, data)
