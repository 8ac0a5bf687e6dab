"""Patterns for the tests of the faiss backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Pattern

DIM = 16
NAMESPACE = "default"


def vector(seed: int, dim: int = DIM) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 (dim,), the same for the same seed."""
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


def pattern(pattern_id: str, seed: int = 0, **given: Any) -> Pattern:
    """A pattern with sensible fields; any of them may be given."""
    fields = {
        "namespace": NAMESPACE,
        "user_key": "ada",
        "task": "adapt",
        "context": vector(seed),
        "objective": "mse",
        "rank": 4,
        "hyperparameters": Hyperparameters(),
        "selection": "default",
        "propensity": 1.0,
        "samples": 8,
        "created_at": 1000.0 + seed,
    }
    return Pattern(id=pattern_id, **{**fields, **given})


def patterns(count: int, start: int = 0, **given: Any) -> list[Pattern]:
    """``count`` different ones."""
    return [pattern(f"p{n:06}", n, **given) for n in range(start, start + count)]
