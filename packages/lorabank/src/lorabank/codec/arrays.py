"""The closed extension types: little-endian arrays of one or two dimensions.

Float32, int64 and int32, and float64 for what is too delicate for float32.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgpack
import numpy as np

from lorabank.errors import CodecError

_CODES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): 1,
    np.dtype(np.int64): 2,
    np.dtype(np.int32): 3,
    np.dtype(np.float64): 4,
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


def pack_array(value: object) -> msgpack.ExtType:
    """msgpack's ``default`` hook.

    Raises:
        CodecError: anything but an array of one or two dimensions of these types.
    """
    if not isinstance(value, np.ndarray) or value.dtype not in _CODES or value.ndim not in (1, 2):
        raise CodecError(
            f"can't encode {type(value).__name__}: only plain data and arrays of "
            "float32, float64, int64 or int32"
        )
    header = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
    return msgpack.ExtType(_CODES[value.dtype], header + little.tobytes())


def unpack_array(code: int, data: bytes) -> Any:
    """msgpack's ``ext_hook``: a read-only array.

    Raises:
        CodecError: an unknown extension type, or a shape that does not fit the data.
    """
    if code not in _DTYPES:
        raise CodecError(f"extension type {code} is not known here: only {sorted(_DTYPES)} are")
    dtype = _DTYPES[code]
    if not data or data[0] not in (1, 2):
        raise CodecError("an array has neither one nor two dimensions: the bytes are damaged")
    start = 1 + 4 * data[0]
    if len(data) < start:
        raise CodecError("an array ends within its shape: the bytes are truncated")
    shape = struct.unpack_from(f"<{data[0]}I", data, 1)
    expected = dtype.itemsize * math.prod(shape)
    if len(data) - start != expected:
        raise CodecError(f"an array of shape {shape} has {len(data) - start} bytes, not {expected}")
    # Within a message the numbers stand at any byte; BLAS would copy unaligned ones at each use.
    array = np.frombuffer(data, dtype.newbyteorder("<"), offset=start).astype(dtype).reshape(shape)
    array.flags.writeable = False
    return array
