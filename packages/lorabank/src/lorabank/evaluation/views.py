"""A log as methods see it: each event with what its user had liked just before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lorabank.evaluation.events import Events, Log
from lorabank.evaluation.metrics import mask_seen
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray

CHUNK = 4096
# Cells (events times items) that are scored at once: 16 MiB of float32.
CELLS = 1 << 22
# A product of fewer rows with all items waits for memory; for these, eight times as much is held.
ROWS, MOST_CELLS = 32, CELLS << 3


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Events of a log.

    Attributes:
        log: of one side of a split.
        items: float32 (N, dim).
        events: every like but a user's first, at most so many of each user; ``x`` is the context
            that adapters are given: the decayed mean of the last likes, of unit length.
        recent: (n, window) items liked before, newest first, padded with -1.
        decay: of ``events.x``.
    """

    log: Log
    items: FloatArray
    events: Events
    recent: IntArray
    decay: float
    _contexts: dict[float, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events)

    def contexts(self, decay: float) -> FloatArray:
        """(n, dim) contexts of another decay."""
        if decay == self.decay:
            return self.events.x
        if decay not in self._contexts:
            self._contexts[decay] = mean_of(self.recent, self.items, decay)
        return self._contexts[decay]

    def chunks(self, rows: IntArray | None = None, step: int = 1) -> list[IntArray]:
        """Positions of all events, or of ``rows``, in parts that are scored at once; ``step``
        matrices of events times items are held."""
        positions = np.arange(len(self)) if rows is None else rows
        width = step * len(self.items)
        size = max(1, CELLS // width, min(ROWS, MOST_CELLS // width))
        return [positions[start : start + size] for start in range(0, len(positions), size)]

    def mask(self, rows: IntArray, scores: AnyFloatArray) -> None:
        """What each event's user had before becomes -inf, the target excepted. In place."""
        mask_seen(self.log, self.events, rows, scores)


def make_view(
    log: Log, items: FloatArray, *, window: int, decay: float, most: int | None = None
) -> View:
    """Events with their contexts; at most ``most`` of each user, the first ones."""
    rows = np.flatnonzero(log.liked)
    user = log.user[rows]
    start = np.searchsorted(user, np.arange(log.users))
    earlier = np.arange(len(rows)) - start[user]
    kept = np.flatnonzero((earlier > 0) & ((earlier <= most) if most else True))
    recent = recent_items(log.item[rows], kept, earlier[kept], window)
    events = Events(
        user=user[kept],
        target=log.item[rows[kept]],
        seen=rows[kept] - log.first[user[kept]],
        number=earlier[kept] - 1,
        time=log.time[rows[kept]],
        x=mean_of(recent, items, decay),
    )
    return View(log, items, events, recent, decay)


def recent_items(item: IntArray, place: IntArray, earlier: IntArray, window: int) -> IntArray:
    """(n, window) the likes just before ``place``, newest first, -1 where there was none."""
    age = np.arange(window)
    positions = place[:, None] - 1 - age
    inside = age < earlier[:, None]
    recent: IntArray = np.where(inside, item[np.where(inside, positions, 0)], -1)
    return recent


def mean_of(recent: IntArray, items: FloatArray, decay: float) -> FloatArray:
    """(n, dim) means of the items' vectors, each older one weighing ``decay`` times less, scaled
    to unit length (zero stays zero)."""
    x = np.zeros((len(recent), items.shape[1]), np.float32)
    padded = np.concatenate([items, np.zeros((1, items.shape[1]), np.float32)])
    for start in range(0, len(recent), CHUNK):
        part = recent[start : start + CHUNK]
        for age in range(recent.shape[1]):
            x[start : start + CHUNK] += np.float32(decay**age) * padded[part[:, age]]
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    x /= np.where(norm > 0, norm, 1)
    return x
