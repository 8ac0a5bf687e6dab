"""Where random choices come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Chance(Protocol):
    """What is needed of a `numpy.random.Generator`."""

    def random(self, size: Any = None) -> Any:
        """Uniform in [0, 1): one number, or an array of them."""
        ...


class SeededChance:
    """Numbers that ``seeds`` settle. Most updates draw none, or one: whether a trial starts.

    That one is a hash of the seeds: a generator takes twenty times as long to make. It is made for
    whatever is drawn beyond.
    """

    __slots__ = ("_drawn", "_generator", "_seeds")

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = seeds
        self._drawn = False
        self._generator: np.random.Generator | None = None

    def random(self, size: Any = None) -> Any:
        """See `Chance.random`."""
        if size is None and not self._drawn and self._generator is None:
            self._drawn = True
            digest = hashlib.blake2b(repr(self._seeds).encode(), digest_size=8).digest()
            return (int.from_bytes(digest, "big") >> 11) * 2.0**-53
        if self._generator is None:
            self._generator = np.random.default_rng(self._seeds)
        return self._generator.random(size)
