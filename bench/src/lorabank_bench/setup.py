"""Sizes of a run, and inputs that all suites share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lorabank import Adapter, EmbeddingSpace, Feedback, Kernel, Weights, open_kernel
from lorabank.kernels import NUMPY
from lorabank.types.arrays import FloatArray
from lorabank_bench.measuring import Case, Timings, interleaved
from lorabank_bench.peers import Peers

SHAPES = ((64, 4), (384, 8), (768, 8))


@dataclass(frozen=True)
class Setup:
    """How much to do.

    Attributes:
        quick: small sizes, to see that everything works; its numbers mean little.
        peers: the installed ones.
    """

    quick: bool
    peers: Peers

    @property
    def shapes(self) -> Sequence[tuple[int, int]]:
        """(dim, rank)."""
        return SHAPES[:2] if self.quick else SHAPES

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel that an engine would choose."""
        return open_kernel("auto")

    def time(self, cases: Sequence[Case]) -> Timings:
        """In turns."""
        if self.quick:
            return interleaved(cases, rounds=5, seconds=0.004)
        return interleaved(cases, rounds=15, seconds=0.02)


def unit_rows(count: int, dim: int, seed: int = 0) -> FloatArray:
    """float32 (count, dim), rows of length one."""
    rows: FloatArray = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def trained(dim: int, rank: int, kernel: Kernel = NUMPY) -> Adapter:
    """An adapter whose B is not zero."""
    rng = np.random.default_rng(0)
    A = (rng.uniform(-1, 1, (rank, dim)) / dim**0.5).astype(np.float32)
    B = (0.01 * rng.standard_normal((dim, rank))).astype(np.float32)
    space = EmbeddingSpace("bench", dim)
    return Adapter("user", Weights(A, B), float(rank), "lora", "mse", space, kernel=kernel)


def feedback(count: int, dim: int, seed: int = 0) -> Feedback:
    """Inputs, and targets near them."""
    x = unit_rows(count, dim, seed)
    return Feedback(x, x + 0.1 * unit_rows(count, dim, seed + 1))
