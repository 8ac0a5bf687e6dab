"""Array aliases and the checks that every public array argument passes."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

# numpy imports these when something first needs them: 50 ms, in the way of an event loop by then.
import numpy.ma
import numpy.random
from numpy.typing import NDArray

from lorabank.errors import InvalidInputError

FloatArray: TypeAlias = NDArray[np.float32]
AnyFloatArray: TypeAlias = NDArray[np.floating[Any]]
Float64Array: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
# Numbers up to which one dot product is the quickest look for NaN and infinity. BLAS takes more
# than one thread for longer ones, and those wait for each other on a busy machine.
_SMALL = 8192


def as_float32(value: object, field: str, *, checked: bool = True) -> FloatArray:
    """Integers and floats become a C-contiguous float32 array; anything else is refused.

    Not ``checked``, it may hold NaN and infinity: for who looks at every number anyway.

    Raises:
        InvalidInputError: not numeric, ragged, a scalar, or holds NaN or infinity (also after the
            cast).
    """
    array = as_array(value, field)
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(field, array.dtype, "an array of integers or floats")
    if array.ndim == 0:
        raise InvalidInputError(field, value, "an array, not a scalar")
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, dtype=np.float32)
    if not array.flags.aligned:
        array = array.copy()
    if checked:
        check_finite(array, field)
    return array


def check_finite(array: FloatArray, field: str) -> None:
    """Nothing, if all numbers of a contiguous array are finite.

    Raises:
        InvalidInputError: names the first that is not.
    """
    # A finite sum of squares has finite terms; where finite ones overflow it, look at each.
    if array.size <= _SMALL and math.isfinite(np.vdot(array, array)):
        return
    if not np.isfinite(array).all():
        raise InvalidInputError(field, _first_not_finite(array), "finite numbers within float32")


def as_array(value: object, field: str) -> NDArray[Any]:
    """``np.asarray``, with rows of unequal length refused by name.

    Raises:
        InvalidInputError: it can't be one array.
    """
    try:
        return np.asarray(value)
    except ValueError as exc:
        raise InvalidInputError(field, value, "rows of equal length") from exc


def as_matrix(
    value: object, field: str, dim: int | None = None, *, checked: bool = True
) -> FloatArray:
    """A vector (dim,) or a matrix (n, dim) as a float32 matrix (n, dim), n >= 1.

    ``checked``: see `as_float32`.

    Raises:
        InvalidInputError: not numeric, not finite, empty, or of another dimension.
    """
    array = as_float32(value, field, checked=checked)
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2 or array.size == 0:
        raise InvalidInputError(field, array.shape, "a non-empty (dim,) or (n, dim) array")
    if dim is not None and array.shape[1] != dim:
        raise InvalidInputError(field, array.shape, f"vectors of dimension {dim}")
    return array


def as_vector(value: object, field: str, dim: int | None = None) -> FloatArray:
    """A float32 vector (dim,).

    Raises:
        InvalidInputError: not numeric, not finite, not one-dimensional, or of another dimension.
    """
    array = as_float32(value, field)
    if array.ndim != 1 or array.size == 0:
        raise InvalidInputError(field, array.shape, "a non-empty one-dimensional array")
    if dim is not None and array.shape[0] != dim:
        raise InvalidInputError(field, array.shape, f"a vector of dimension {dim}")
    return array


def unit_vector(vector: FloatArray) -> Float64Array:
    """``vector`` at length one, float64 (dim,); a zero vector stays zero.

    Backends that store and compare these agree to the bit.
    """
    wide = vector.astype(np.float64)
    norm = math.sqrt(np.dot(wide, wide))
    return wide / norm if norm > 0 else wide


def check_out(out: FloatArray, shape: tuple[int, ...], inputs: FloatArray) -> None:
    """An output that the caller gave: float32 of a shape, contiguous, apart from ``inputs``.

    Raises:
        InvalidInputError: it is not.
    """
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or out.shape != shape:
        raise InvalidInputError("out", getattr(out, "shape", out), f"a float32 array {shape}")
    if not out.flags.carray:
        raise InvalidInputError("out", "a strided or read-only array", "a contiguous writable one")
    if np.shares_memory(out, inputs):
        raise InvalidInputError("out", "memory shared with X", "an array of its own")


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only array in memory of its own, unless it is read-only already.

    Adapters and patterns are values: what a caller writes into its own array later must not
    change them.
    """
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view: nothing is copied, and the caller must leave its array alone."""
    view = array.view()
    view.flags.writeable = False
    return view


def _first_not_finite(array: FloatArray) -> str:
    where = np.argwhere(~np.isfinite(array))[0].tolist()
    return f"{array[tuple(where)]} at index {where}"
