"""Blocks of one shape in slabs, and the kernel's calls for many of them."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from lorabank.arena.lease import Lease
from lorabank.errors import InvalidInputError
from lorabank.kernels import NUMPY, Kernel
from lorabank.types.arrays import Float64Array, FloatArray, IntArray
from lorabank.types.checks import check_count
from lorabank.types.weights import Weights

MEBIBYTE = 1 << 20
# Floats in a cache line: no two blocks share one.
LINE = 16
# Slots are sorted by laying them out where they are no sparser than one of this many.
DENSE = 16
# Bytes of a huge page, on the usual processors.
HUGE_PAGE = 2 * MEBIBYTE


class Group(NamedTuple):
    """Some leases, made ready once for several calls.

    Attributes:
        leases: n of them, as they were given.
        slots: their slots in rising order, int64 (n,): memory is fastest from one end to the other.
        rows: which lease has each of these slots, int64 (n,).
        single: stretches of one row for each, int64 (n, 2): see `Kernel.mse_update_many`.
        distinct: whether no slot repeats.
    """

    leases: tuple[Lease, ...]
    slots: IntArray
    rows: IntArray
    single: IntArray
    distinct: bool


class UpdatedMany(NamedTuple):
    """New weights of n adapters, with their losses before the step and the norms before clipping.

    ``losses`` and ``norms`` are float64 (n,).
    """

    leases: tuple[Lease, ...]
    losses: Float64Array
    norms: Float64Array


class Arena:
    """Weights of many adapters of one shape. Belongs to one thread; leases may end in any.

    Memory grows slab by slab, so that nothing is ever moved; slots are used again, slabs are kept.
    To touch a huge page for the first time takes up to milliseconds. Where that would hold up an
    event loop, make the next slab in another thread (`new_slab`) while there still are slots, and
    `add` it; the first slab has small pages.

    Args:
        dim, rank: of the adapters.
        kernel: computes.
        slab_bytes: about how much is reserved at a time.
    """

    def __init__(
        self, dim: int, rank: int, kernel: Kernel = NUMPY, *, slab_bytes: int = 8 * MEBIBYTE
    ) -> None:
        check_count(dim, "dim", low=1)
        check_count(rank, "rank", low=1)
        check_count(slab_bytes, "slab_bytes", low=1)
        if rank > dim:
            raise InvalidInputError("rank", rank, f"at most the dimension {dim}")
        self.dim, self.rank, self.kernel = dim, rank, kernel
        self._width = -(-2 * rank * dim // LINE) * LINE
        self._blocks = max(1, slab_bytes // (4 * self._width))
        self._slabs: tuple[FloatArray, ...] = ()
        self._addresses: list[int] = []
        self._free: list[int] = []
        self._begun = 0

    def __len__(self) -> int:
        """Slots in use."""
        return self._begun - len(self._free)

    @property
    def slabs(self) -> tuple[FloatArray, ...]:
        """What kernels work on. Slots that are leased may not be written."""
        return self._slabs

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return 4 * self._width * self._blocks * len(self._slabs)

    @property
    def crowded(self) -> bool:
        """Whether less than a quarter of a slab is left; not before there is a slab."""
        left = self._blocks * len(self._slabs) - len(self)
        return bool(self._slabs) and 4 * left < self._blocks

    def new_slab(self) -> FloatArray:
        """Room to `add`, all of it touched. In any thread."""
        slab = _aligned(self._blocks, self._width)
        slab.fill(0.0)
        return slab

    def add(self, slab: FloatArray) -> None:
        """Make use of a new slab of this arena's."""
        self._slabs += (slab,)
        self._addresses.append(slab.__array_interface__["data"][0])

    def put(self, weights: Weights) -> Lease:
        """A copy of some weights in a slot of their own.

        Raises:
            InvalidInputError: they are of another shape.
        """
        if weights.A.shape != (self.rank, self.dim):
            raise InvalidInputError("weights", weights.A.shape, f"A of {(self.rank, self.dim)}")
        lease = self._take()
        slab, row = divmod(lease.slot, self._blocks)
        block = self._slabs[slab][row]
        half = self.rank * self.dim
        block[:half] = weights.A.reshape(half)
        block[half : 2 * half] = weights.B.reshape(half)
        return lease

    def owns(self, lease: Lease) -> bool:
        """Whether it was leased here."""
        return lease.belongs_to(self._free)

    def group(self, leases: Sequence[Lease]) -> Group:
        """Leases of this arena, ready for several calls.

        Raises:
            InvalidInputError: none, or one of another arena.
        """
        if not leases or not all(lease.belongs_to(self._free) for lease in leases):
            raise InvalidInputError("leases", f"{len(leases)} leases", "some, of this arena")
        slots, rows = in_order(np.fromiter((lease.slot for lease in leases), np.int64, len(leases)))
        single = rows[:, None] + np.arange(2)
        return Group(tuple(leases), slots, rows, single, bool((slots[1:] != slots[:-1]).all()))

    def forward_many(
        self,
        leases: Group | Sequence[Lease],
        scales: float | Float64Array,
        X: FloatArray,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """Each row of X (n, dim) through the adapter of its lease, float32 (n, dim).

        Args:
            leases: n of them; one may come several times.
            scales: of all, or of each, (n,).
            X: float32, C-contiguous.
            out: float32 (n, dim), C-contiguous, apart from X. Undefined after an error.

        Raises:
            InvalidInputError: names the first row that is not finite; another arena's lease.
            TypeError, ValueError: arrays of other types, shapes or layouts.
        """
        group = leases if isinstance(leases, Group) else self.group(leases)
        if len(X) != len(group.rows):
            raise InvalidInputError("X", X.shape, f"{len(group.rows)} rows")
        out = np.empty_like(X) if out is None else out
        each = scales if isinstance(scales, float | int) else scales[group.rows]
        self.forward_slots(group.slots, group.rows, each, X, out)
        return out

    def forward_slots(
        self,
        slots: IntArray,
        rows: IntArray,
        scales: float | Float64Array,
        X: FloatArray,
        out: FloatArray,
    ) -> None:
        """`forward_many` of slots (n,), best in rising order, whose leases somebody holds.

        Args:
            slots: int64 (n,).
            rows: the row of X and ``out`` of each slot, int64 (n,), none twice.
            scales: of all, or of each slot, (n,).
            X: float32 (at least n, dim), C-contiguous.
            out: float32 of X's shape, C-contiguous, apart from X. Undefined after an error.

        Raises:
            InvalidInputError: names the first row that is not finite.
            TypeError, ValueError, IndexError: arrays of other types, shapes or layouts.
        """
        each = np.full(1, scales) if isinstance(scales, float | int) else scales
        bad = self.kernel.forward_many(self._slabs, self.rank, slots, each, rows, X, out)
        if bad >= 0:
            raise InvalidInputError("X", f"row {bad}", "finite numbers of moderate size")

    def update_many(
        self,
        leases: Group | Sequence[Lease],
        scales: float | Float64Array,
        X: FloatArray,
        T: FloatArray,
        *,
        learning_rates: float | Float64Array,
        clip_thresholds: float | Float64Array,
        starts: IntArray | None = None,
        weights: FloatArray | None = None,
        in_place: bool = False,
    ) -> UpdatedMany:
        """One clipped ``mse`` step for each adapter, into new slots or its own.

        Args:
            leases: n of them, each the source of a new one; the old weights stay as they are. In
                place, none may come twice.
            scales, learning_rates, clip_thresholds: of all, or of each, (n,).
            X, T: inputs and targets of all, float32 (rows, dim), C-contiguous.
            starts: int64 (n + 1,): adapter i learns from the rows ``starts[i]`` to
                ``starts[i + 1] - 1``. None: from row i alone.
            weights: of the rows, float32 (rows,), or None for ones.
            in_place: write into the same slots, which moves half as much memory. Only for whoever
                holds these leases alone: views of them change. After an InvalidInputError all
                adapters but the bad ones have learned.

        Raises:
            InvalidInputError: names the first adapter whose batch has no finite gradient, or
                nothing but zeros; nothing was changed (but see ``in_place``).
            TypeError, ValueError: arrays of other types, shapes or layouts.
        """
        group = leases if isinstance(leases, Group) else self.group(leases)
        n, rows = len(group.slots), group.rows
        if in_place and not group.distinct:
            raise InvalidInputError("leases", "one that comes twice", "each once, in place")
        stretches = _stretches(starts, group, len(X))
        new, targets = group.leases, group.slots
        if not in_place:
            new = tuple(self._take() for _ in range(n))
            targets = np.fromiter((lease.slot for lease in new), np.int64, n)[rows]
        results = np.empty((n, 3))
        self.kernel.mse_update_many(
            self._slabs,
            self.rank,
            group.slots,
            targets,
            _for_each(scales, rows),
            _for_each(learning_rates, rows),
            _for_each(clip_thresholds, rows),
            stretches,
            X,
            T,
            weights,
            results,
        )
        if not np.isfinite(results.sum()):  # else all are
            bad = rows[~np.isfinite(results).all(axis=1)].min(initial=n)
            if bad < n:
                what = f"that of adapter {bad}"
                raise InvalidInputError("feedback", what, "finite inputs that are not all zero")
        losses, norms = np.empty((2, n))
        losses[rows], norms[rows] = results[:, 0] / results[:, 1], results[:, 2]
        return UpdatedMany(new, losses, norms)

    def _take(self) -> Lease:
        """A slot, whose block holds anything."""
        slot = self._free.pop() if self._free else self._begin()
        slab, row = divmod(slot, self._blocks)
        address = self._addresses[slab] + 4 * self._width * row
        return Lease(self._slabs[slab], address, slot, (self.rank, self.dim), self._free)

    def _begin(self) -> int:
        """A slot that was never used."""
        slot = self._begun
        if slot == self._blocks * len(self._slabs):
            fresh = _aligned if self._slabs else _in_small_pages
            self.add(fresh(self._blocks, self._width))
        self._begun += 1
        return slot


def in_order(slots: IntArray) -> tuple[IntArray, IntArray]:
    """Slots (n,) in rising order, int64 (n,), and which each of them was, int64 (n,)."""
    n = len(slots)
    if (slots[1:] >= slots[:-1]).all():
        return slots, np.arange(n)
    room = int(slots.max()) + 1
    if room <= DENSE * n:
        # Two passes over the room that they lie in, where they are no sparse choice.
        whose = np.full(room, -1)
        whose[slots] = np.arange(n)
        rows = whose[whose >= 0]
        if len(rows) == n:  # none comes twice
            return slots[rows], rows
    rows = np.argsort(slots, kind="stable")
    return slots[rows], rows


def _aligned(blocks: int, width: int) -> FloatArray:
    """An array (blocks, width) that begins with a cache line, and a large one with a huge page.

    numpy asks Linux for huge pages where an array has room for them: at random, their addresses
    are found twice as fast. Room that is skipped is never touched, so it is no memory.
    """
    size = blocks * width
    boundary = HUGE_PAGE if 4 * size >= HUGE_PAGE else 4 * LINE
    raw = np.empty(size + boundary // 4, np.float32)
    skipped = -raw.__array_interface__["data"][0] % boundary // 4
    return raw[skipped : skipped + size].reshape(blocks, width)


def _in_small_pages(blocks: int, width: int) -> FloatArray:
    """An array (blocks, width) whose pages take no time worth mentioning when they are touched.

    That is not numpy's own memory, for which it asks for huge pages where it is large.
    """
    if not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return _aligned(blocks, width)
    memory = mmap.mmap(-1, 4 * blocks * width, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(blocks, width)


def _for_each(value: float | Float64Array, rows: IntArray) -> Float64Array:
    """One for all, or of each adapter in the order of a group's slots."""
    return np.full(1, value) if isinstance(value, float | int) else value[rows]


def _stretches(starts: IntArray | None, group: Group, count: int) -> IntArray:
    """The rows of each adapter, (n, 2), in the order of a group's slots.

    Raises:
        InvalidInputError: they are not the ``count`` rows that there are.
    """
    n = len(group.rows)
    if starts is None:
        if count != n:
            raise InvalidInputError("X", f"{count} rows", f"{n}, or 'starts'")
        return group.single
    if starts.shape != (n + 1,) or starts[0] != 0 or starts[-1] != count:
        expected = f"{n + 1} numbers that rise from 0 to {count}"
        raise InvalidInputError("starts", starts.shape, expected)
    return starts[group.single]
