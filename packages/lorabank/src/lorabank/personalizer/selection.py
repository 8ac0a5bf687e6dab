"""Users that are served together again and again, looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lorabank.arena import Arena, Group
from lorabank.errors import InvalidInputError
from lorabank.numerics.ranges import distinct
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.hot import Hot
from lorabank.turns import unhurried
from lorabank.types.arrays import Float64Array, FloatArray, IntArray


class Part(NamedTuple):
    """Users of one rank: their arena and adapters, with scales (n,) and rows (n,) of the input."""

    arena: Arena
    group: Group
    scales: Float64Array
    rows: IntArray


class Found(NamedTuple):
    """Adapters of all users of a selection, as they were at one moment.

    Attributes:
        adapters: where they were found, when it had made ``changes``.
        read_at: monotonic seconds at which the oldest was read.
        parts: one for each rank: usually one.
    """

    adapters: Adapters
    changes: int
    read_at: float
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, adapters: Adapters, changes: int, served: Sequence[Hot]) -> Found:
        """Adapters in the order of rows."""
        ranks = np.array([hot.adapter.rank for hot in unhurried(served)], np.int64)
        scales = np.array([hot.adapter.scale for hot in unhurried(served)], np.float64)
        read_at = min(hot.read_at for hot in unhurried(served))
        parts = []
        for rank in distinct(ranks).tolist():
            rows = np.flatnonzero(ranks == rank)
            arena = adapters.arena(rank)
            group = arena.group([served[row].lease for row in unhurried(rows.tolist())])
            parts.append(Part(arena, group, scales[rows], rows))
        return cls(adapters, changes, read_at, tuple(parts))

    def holds(self, adapters: Adapters) -> bool:
        """Whether this may still be served."""
        return self.adapters is adapters and adapters.unchanged(self.changes, self.read_at)

    @property
    def work(self) -> int:
        """Multiply-adds of one call."""
        return sum(len(part.rows) * part.arena.rank * part.arena.dim for part in self.parts)

    def forward(self, X: FloatArray, out: FloatArray) -> FloatArray:
        """Each row of X through its adapter: one call of the kernel for each rank.

        Raises:
            InvalidInputError: a row is not finite.
        """
        if len(self.parts) == 1:
            (part,) = self.parts
            return part.arena.forward_many(part.group, part.scales, X, out)
        for part in self.parts:
            out[part.rows] = part.arena.forward_many(part.group, part.scales, X[part.rows])
        return out


class Selection:
    """Users for `Personalizer.forward_many`, who are looked up at the first call and then kept.

    What is served is what would be without it: users are looked up again once anybody's adapter
    was learned or forgotten in this process, and after ``fresh_for`` seconds. It holds their
    weights in memory, beyond ``hot_bytes``, until it is let go or they are looked up again.

    Args:
        user_ids: of the rows, in order; one may come several times.

    Raises:
        InvalidInputError: none. (What is no user id is named by the call that looks it up.)
    """

    __slots__ = ("found", "user_ids")

    def __init__(self, user_ids: Sequence[str]) -> None:
        if isinstance(user_ids, str) or len(user_ids) == 0:
            raise InvalidInputError("user_ids", user_ids, "some user ids")
        self.user_ids = tuple(user_ids)
        self.found: Found | None = None

    def __len__(self) -> int:
        return len(self.user_ids)
