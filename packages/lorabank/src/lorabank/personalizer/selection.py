"""Users that are served together again and again, looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.arena import Arena, in_order
from lorabank.errors import InvalidInputError
from lorabank.numerics.ranges import distinct
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.hot import Hot
from lorabank.personalizer.places import ROW
from lorabank.turns import unhurried
from lorabank.types.arrays import Float64Array, FloatArray, IntArray


class Part(NamedTuple):
    """Users of one rank: their arena, slots in rising order (n,), scales, and rows of the input."""

    arena: Arena
    slots: IntArray
    scales: float | Float64Array
    rows: IntArray


class Found(NamedTuple):
    """Adapters of all users of a selection, as they were at one moment.

    Attributes:
        adapters: where they were found.
        moment: its count of changes then, or its version: see `kept`.
        read_at: monotonic seconds at which the oldest was read.
        parts: one for each rank: usually one.
        places: of users who were all hot, (n,); or None.
        kept: what holds the slots of those who were not all hot. Who was needs nothing: as long as
            the version is the same, all are still hot.
    """

    adapters: Adapters
    moment: int
    read_at: float
    parts: tuple[Part, ...]
    places: IntArray | None
    kept: tuple[Hot, ...]

    @classmethod
    def of_hot(
        cls, adapters: Adapters, version: int, places: IntArray, table: NDArray[Any]
    ) -> Found:
        """Users in the order of rows, by their places and what is there."""
        parts, read_at = _parts(adapters, table), float(table["read_at"].min())
        return cls(adapters, version, read_at, parts, places, ())

    @classmethod
    def of_kept(cls, adapters: Adapters, changes: int, served: Sequence[Hot]) -> Found:
        """Adapters in the order of rows."""
        table = np.empty(len(served), ROW)
        for row, hot in enumerate(unhurried(served)):
            lease = hot.lease
            table[row] = (lease.slot, lease.rank, hot.adapter.scale, hot.read_at, 0)
        parts, read_at = _parts(adapters, table), float(table["read_at"].min())
        return cls(adapters, changes, read_at, parts, None, tuple(served))

    def holds(self, adapters: Adapters) -> bool:
        """Whether this may still be served."""
        if self.adapters is not adapters or not adapters.is_fresh(self.read_at):
            return False
        return self.moment == (adapters.version if self.places is not None else adapters.changes)

    @property
    def work(self) -> int:
        """Multiply-adds of one call."""
        return sum(len(part.rows) * part.arena.rank * part.arena.dim for part in self.parts)

    def forward(self, X: FloatArray, out: FloatArray) -> FloatArray:
        """Each row of X through its adapter: one call of the kernel for each rank.

        Raises:
            InvalidInputError: a row is not finite.
        """
        for arena, slots, scales, rows in self.parts:
            arena.forward_slots(slots, rows, scales, X, out)
        return out


class Selection:
    """Users for `Personalizer.forward_many`, who are looked up at the first call and then kept.

    What is served is what would be without it: users are looked up again once anybody's adapter
    was learned or forgotten in this process, and after ``fresh_for`` seconds. Where not all of them
    fit into ``hot_bytes``, it holds their weights in memory beyond that, until it is let go or they
    are looked up again.

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


def _parts(adapters: Adapters, table: NDArray[Any]) -> tuple[Part, ...]:
    """Rows of the table by rank."""
    ranks = table["rank"]
    if (ranks == ranks[0]).all():
        return (_part(adapters, table, None),)
    chosen = [np.flatnonzero(ranks == rank) for rank in distinct(ranks).tolist()]
    return tuple(_part(adapters, table[which], which) for which in chosen)


def _part(adapters: Adapters, table: NDArray[Any], which: IntArray | None) -> Part:
    """Rows of one rank, in the order of their slots; ``which`` they are, None: all."""
    slots, order = in_order(np.ascontiguousarray(table["slot"]))
    each = table["scale"]
    scales = float(each[0]) if (each == each[0]).all() else each[order]
    rows = order if which is None else which[order]
    return Part(adapters.arena(int(table["rank"][0])), slots, scales, rows)
