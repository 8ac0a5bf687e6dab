"""The closed extension types: little-endian arrays of one or two dimensions.

Float32, int64 and int32, float64 for what is too delicate for float32, and float16 for weights that
may lose some bits: it is read as float32.

The payload of an extension is one byte for the dimensions, 4 bytes for the length of each, zeros up
to a multiple of the item's size, and the numbers. msgpack hands a payload out as bytes of its own,
so the numbers are aligned in them, and an array that is read is a view of them. The codes 1 to 4 of
earlier versions had no zeros in between.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgpack
import numpy as np

from lorabank.errors import CodecError

_PACKED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<i8"),
    3: np.dtype("<i4"),
    4: np.dtype("<f8"),
}
_ALIGNED: dict[int, np.dtype[Any]] = {
    17: np.dtype("<f4"),
    18: np.dtype("<i8"),
    19: np.dtype("<i4"),
    20: np.dtype("<f8"),
    21: np.dtype("<f2"),
}
_CODES = {dtype.newbyteorder("="): code for code, dtype in _ALIGNED.items()}
_DTYPES = _PACKED | _ALIGNED


def pack_array(value: object) -> msgpack.ExtType:
    """msgpack's ``default`` hook.

    Raises:
        CodecError: anything but an array of one or two dimensions of these types.
    """
    if not isinstance(value, np.ndarray) or value.dtype not in _CODES or value.ndim not in (1, 2):
        raise CodecError(
            f"can't encode {type(value).__name__}: only plain data and arrays of "
            "float32, float64, float16, int64 or int32"
        )
    header = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    header += bytes(-len(header) % value.itemsize)
    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return msgpack.ExtType(_CODES[value.dtype], header + little.tobytes())


def unpack_array(code: int, data: bytes) -> Any:
    """msgpack's ``ext_hook``: a read-only array, where possible a view of the data.

    Raises:
        CodecError: an unknown extension type, or a shape that does not fit the data.
    """
    if code not in _DTYPES:
        raise CodecError(f"extension type {code} is not known here: only {sorted(_DTYPES)} are")
    dtype = _DTYPES[code]
    if not data or data[0] not in (1, 2):
        raise CodecError("an array has neither one nor two dimensions: the bytes are damaged")
    header = 1 + 4 * data[0]
    start = header + (-header % dtype.itemsize if code in _ALIGNED else 0)
    if len(data) < start:
        raise CodecError("an array ends within its shape: the bytes are truncated")
    if any(data[header:start]):
        raise CodecError("an array has something between its shape and its numbers: damaged")
    shape = struct.unpack_from(f"<{data[0]}I", data, 1)
    expected = dtype.itemsize * math.prod(shape)
    if len(data) - start != expected:
        raise CodecError(f"an array of shape {shape} has {len(data) - start} bytes, not {expected}")
    view = np.frombuffer(data, dtype, offset=start).reshape(shape)
    native = np.dtype(np.float32) if dtype.itemsize == 2 else dtype.newbyteorder("=")
    array = np.require(view, native, ["A"])
    array.flags.writeable = False
    return array
