"""The closed extension type: a little-endian float32 array of one or two dimensions."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import numpy as np

from lorabank.errors import CodecError

FLOAT32_ARRAY = 1


def pack_array(value: object) -> msgpack.ExtType:
    """msgpack's ``default`` hook.

    Raises:
        CodecError: anything but a float32 array of one or two dimensions.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.ndim not in (1, 2):
        raise CodecError(f"can't encode {type(value).__name__}: only float32 arrays and plain data")
    header = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    return msgpack.ExtType(FLOAT32_ARRAY, header + value.astype("<f4", copy=False).tobytes())


def unpack_array(code: int, data: bytes) -> Any:
    """msgpack's ``ext_hook``: a read-only float32 array.

    Raises:
        CodecError: an unknown extension type, or a shape that does not fit the data.
    """
    if code != FLOAT32_ARRAY:
        raise CodecError(f"extension type {code} is not known here: only {FLOAT32_ARRAY} is")
    if not data or data[0] not in (1, 2):
        raise CodecError("an array has neither one nor two dimensions: the bytes are damaged")
    start = 1 + 4 * data[0]
    if len(data) < start:
        raise CodecError("an array ends within its shape: the bytes are truncated")
    shape = struct.unpack_from(f"<{data[0]}I", data, 1)
    expected = 4 * int(np.prod(shape, dtype=object))
    if len(data) - start != expected:
        raise CodecError(f"an array of shape {shape} has {len(data) - start} bytes, not {expected}")
    values = np.frombuffer(data, dtype="<f4", offset=start).reshape(shape)
    # Within a message the floats stand at any byte; BLAS would copy unaligned ones at each use.
    array = np.require(values, np.float32, ["C", "A"])
    array.flags.writeable = False
    return array
