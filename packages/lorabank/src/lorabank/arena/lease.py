"""A slot of an arena, and the views that keep it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lorabank.types.arrays import FloatArray
from lorabank.types.values import made
from lorabank.types.weights import Weights


class Lease:
    """One slot, for as long as this object or an array over it lives; then it is handed out anew.

    Weights are values, and whoever holds them may read them at any time, so nothing but the last
    reference can say that a slot is free. The arrays of `weights` have this object as their base,
    and it holds none of them: there is no cycle, so the slot is free at once.

    Attributes:
        slot: its number.
        rank, dim: of the adapter in it.
    """

    __slots__ = ("_address", "_free", "_slab", "dim", "rank", "slot")

    def __init__(
        self, slab: FloatArray, address: int, slot: int, shape: tuple[int, int], free: list[int]
    ) -> None:
        """The block at ``address`` of a slab, for (rank, dim); its slot goes to ``free`` later."""
        self.slot = slot
        self.rank, self.dim = shape
        self._slab = slab
        self._free = free
        self._address = address

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """numpy's array protocol: the block, read-only."""
        size = 2 * self.rank * self.dim
        return {"shape": (size,), "typestr": "<f4", "data": (self._address, True), "version": 3}

    def weights(self) -> Weights:
        """A and B as read-only views. What is in a slot is finite."""
        block, half = np.asarray(self), self.rank * self.dim
        A = block[:half].reshape(self.rank, self.dim)
        return made(Weights, A=A, B=block[half:].reshape(self.dim, self.rank))

    def belongs_to(self, free: list[int]) -> bool:
        """Whether it is of the arena with this list."""
        return self._free is free

    def holds(self, weights: Weights) -> bool:
        """Whether these are its views, and not parts of them put together otherwise."""
        shapes = weights.A.shape == (self.rank, self.dim) == weights.B.shape[::-1]
        half = 4 * self.rank * self.dim
        A, B = (m.__array_interface__["data"][0] for m in (weights.A, weights.B))
        return shapes and self._address == A and self._address + half == B

    def __del__(self) -> None:
        self._free.append(self.slot)


def lease_of(weights: Weights) -> Lease | None:
    """The lease that weights are views of, if they are."""
    base: Any = weights.A
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, Lease) and base.holds(weights) else None
