"""Checks of the reference kernel's arguments: it refuses what compiled code has to refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorabank.kernels.protocol import Slabs
from lorabank.types.arrays import Float64Array, FloatArray, IntArray

_NATIVE: dict[type, np.dtype[Any]] = {
    kind: np.dtype(kind) for kind in (np.float32, np.float64, np.int64)
}


def check_output(
    array: FloatArray,
    shape: tuple[int, ...],
    others: tuple[FloatArray, ...],
    *,
    writes: bool = True,
) -> None:
    """A contiguous float32 array of a shape, apart from ``others``, and writable if it is written.

    Raises:
        TypeError, ValueError: it is not.
    """
    check_exactly(array, np.float32, shape)
    if array.ndim > 2:
        raise ValueError(f"an array of shape {array.shape}, expected one or two dimensions")
    if writes and not array.flags.writeable:
        raise ValueError("an output that is read-only")
    if any(np.may_share_memory(array, other) for other in others):
        raise ValueError("an output that shares memory with another argument")


def check_forward(A: FloatArray, B: FloatArray, X: FloatArray, out: FloatArray) -> None:
    """A and B of matching shapes, X (dim,) or (n, dim), and out of X's shape, apart from them.

    What is right is seen at one look, since all checks one by one take longer than one vector's
    products.

    Raises:
        TypeError, ValueError: something is not so.
    """
    right = (
        A.dtype is B.dtype is X.dtype is out.dtype is _NATIVE[np.float32]
        and A.ndim == 2
        and A.shape == B.shape[::-1]
        and X.shape == out.shape
        and X.shape[-1:] == A.shape[1:]
        and 1 <= X.ndim <= 2
        and bool(A.size and X.size)
        and out.flags.carray
        and all(m.flags.c_contiguous and m.flags.aligned for m in (A, B, X))
    )
    if not right:
        check_matrices(A, B, A.shape)
        check_output(X, X.shape if X.ndim == 2 else (A.shape[1],), (), writes=False)
        check_output(out, X.shape, ())
    if np.may_share_memory(out, X) or np.may_share_memory(out, A) or np.may_share_memory(out, B):
        raise ValueError("an output that shares memory with another argument")


def check_matrices(A: FloatArray, B: FloatArray, shape: tuple[int, ...]) -> None:
    """A and B of matching shapes.

    Raises:
        TypeError, ValueError: they are not.
    """
    if len(shape) != 2:
        raise ValueError(f"A of shape {shape}, expected two dimensions")
    check_output(A, shape, (), writes=False)
    check_output(B, shape[::-1], (), writes=False)


def check_batch(X: FloatArray, T: FloatArray, weights: FloatArray | None, dim: int) -> None:
    """X and T (n, dim), weights (n,).

    Raises:
        TypeError, ValueError: they are not.
    """
    if X.ndim != 2 or X.shape[1] != dim:
        raise ValueError(f"X of shape {X.shape}, expected rows of {dim}")
    check_output(X, X.shape, (), writes=False)
    check_output(T, X.shape, (), writes=False)
    if weights is not None:
        check_output(weights, (len(X),), (), writes=False)


def check_slots(
    slabs: Slabs, rank: int, dim: int, count: int, slots: IntArray, *numbers: Float64Array
) -> None:
    """Slabs of one shape that hold blocks of this rank and dim, slots in them, numbers per slot.

    Raises:
        TypeError, ValueError, IndexError: they are not.
    """
    if not isinstance(slabs, tuple) or not slabs or not 1 <= rank <= dim:
        raise ValueError("slabs: not a tuple of arrays, or an unfit rank")
    for slab in slabs:
        check_output(slab, slabs[0].shape, (), writes=False)
    if slabs[0].ndim != 2 or slabs[0].shape[1] < 2 * rank * dim:
        raise ValueError(f"slab: shape {slabs[0].shape} is too narrow")
    check_exactly(slots, np.int64, (count,))
    for number in numbers:
        check_exactly(number, np.float64, (1,) if number.shape == (1,) else (count,))
    capacity = len(slabs) * len(slabs[0])
    if slots.min() < 0 or slots.max() >= capacity:
        raise IndexError(f"a slot that is not one of {capacity}")


def check_rows(rows: IntArray, count: int, limit: int) -> None:
    """(count,), each below ``limit``.

    Raises:
        TypeError, ValueError, IndexError: it is not so.
    """
    check_exactly(rows, np.int64, (count,))
    if rows.min() < 0 or rows.max() >= limit:
        raise IndexError(f"a row that is not one of {limit}")


def check_stretches(stretches: IntArray, count: int, rows: int) -> None:
    """(count, 2), each from one row to a later one, within ``rows``.

    Raises:
        TypeError, ValueError, IndexError: it is not so.
    """
    check_exactly(stretches, np.int64, (count, 2))
    starts, stops = stretches.T
    if starts.min() < 0 or stops.max() > rows or (stops <= starts).any():
        raise IndexError(f"rows that are no stretch of {rows}")


def check_exactly(array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    """An array of a type and shape, contiguous and aligned, with something in it.

    Raises:
        TypeError, ValueError: it is not.
    """
    flags = array.flags
    sound = flags.c_contiguous and flags.aligned
    if sound and array.dtype is _NATIVE[dtype] and array.shape == shape and array.size:
        return
    if array.dtype != dtype:
        raise TypeError(f"an array of {array.dtype}, expected {np.dtype(dtype)}")
    if array.shape != shape or array.size == 0:
        raise ValueError(f"an array of shape {array.shape}, expected {shape}")
    if not sound:
        raise ValueError("an array that is not contiguous and aligned")
