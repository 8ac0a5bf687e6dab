"""The closed extension types: little-endian arrays of one or two dimensions.

Float32, int64 and int32, float64 for what is too delicate for float32, and float16 for weights that
may lose some bits: it is read as float32.

Codes 33 to 37 are vectors and 49 to 53 matrices with every dimension below 65,536: the payload is
2 bytes for the length of each, zeros up to a multiple of the item's size, and the numbers. In 17 to
21 a payload begins with one byte for the number of dimensions, and lengths take 4 bytes. msgpack
hands a payload out as bytes of its own, so the numbers are aligned in them, and an array that is
read is a view of them. The codes 1 to 4 of earlier versions had no zeros in between.
"""

from __future__ import annotations

import math
import struct
import sys
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
_KINDS = [*_PACKED.values(), np.dtype("<f2")]
_WIDE = {17 + place: dtype for place, dtype in enumerate(_KINDS)}
_SHORT = {16 * (1 + n) + 1 + place: dtype for n in (1, 2) for place, dtype in enumerate(_KINDS)}
_DTYPES = _PACKED | _WIDE | _SHORT
_SHORT_LENGTHS, _WIDE_LENGTHS = (
    {n: struct.Struct(f"<{n}{kind}") for n in (1, 2)} for kind in ("H", "I")
)
_PLACES = {dtype.newbyteorder("="): place for place, dtype in enumerate(_KINDS)}


def pack_array(value: object) -> msgpack.ExtType:
    """msgpack's ``default`` hook.

    Raises:
        CodecError: anything but an array of one or two dimensions of these types.
    """
    if not isinstance(value, np.ndarray) or value.dtype not in _PLACES or value.ndim not in (1, 2):
        raise CodecError(
            f"can't encode {type(value).__name__}: only plain data and arrays of "
            "float32, float64, float16, int64 or int32"
        )
    if max(value.shape) < 1 << 16:
        code, header = 17 + 16 * value.ndim, struct.pack(f"<{value.ndim}H", *value.shape)
    else:
        code, header = 17, struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    header += bytes(-len(header) % value.itemsize)
    if sys.byteorder == "big":
        value = value.astype(value.dtype.newbyteorder("<"))
    return msgpack.ExtType(code + _PLACES[value.dtype], header + value.tobytes())


def unpack_array(code: int, data: bytes) -> Any:
    """msgpack's ``ext_hook``: a read-only array, where possible a view of the data.

    Raises:
        CodecError: an unknown extension type, or a shape that does not fit the data.
    """
    if code not in _DTYPES:
        raise CodecError(f"extension type {code} is not known here: only {sorted(_DTYPES)} are")
    dtype = _DTYPES[code]
    lengths = _lengths(code, data)
    header = lengths.size + (code not in _SHORT)
    start = header + (0 if code in _PACKED else -header % dtype.itemsize)
    if len(data) < start:
        raise CodecError("an array ends within its shape: the bytes are truncated")
    if any(data[header:start]):
        raise CodecError("an array has something between its shape and its numbers: damaged")
    shape = lengths.unpack_from(data, code not in _SHORT)
    expected = dtype.itemsize * math.prod(shape)
    if len(data) - start != expected:
        raise CodecError(f"an array of shape {shape} has {len(data) - start} bytes, not {expected}")
    view = np.frombuffer(data, dtype, offset=start).reshape(shape)
    native = np.dtype(np.float32) if dtype.itemsize == 2 else dtype.newbyteorder("=")
    array = np.require(view, native, ["A"])
    array.flags.writeable = False
    return array


def _lengths(code: int, data: bytes) -> struct.Struct:
    """How the lengths of the dimensions are written, after the byte that counts them, if any.

    Raises:
        CodecError: neither one nor two dimensions.
    """
    if code in _SHORT:
        return _SHORT_LENGTHS[code // 16 - 1]
    if not data or data[0] not in (1, 2):
        raise CodecError("an array has neither one nor two dimensions: the bytes are damaged")
    return _WIDE_LENGTHS[data[0]]
