"""Where random choices come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Chance(Protocol):
    """What is needed of a `numpy.random.Generator`."""

    def random(self, size: Any = None) -> Any:
        """Uniform in [0, 1): one number, or an array of them."""
        ...


class SeededChance:
    """``default_rng(seeds)``, made when the first number is drawn: most updates draw none."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = seeds
        self._generator: np.random.Generator | None = None

    def random(self, size: Any = None) -> Any:
        """See `Chance.random`."""
        if self._generator is None:
            self._generator = np.random.default_rng(self._seeds)
        return self._generator.random(size)
