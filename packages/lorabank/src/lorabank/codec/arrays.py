"""The closed extension types: little-endian arrays of one or two dimensions.

Float32, int64 and int32, float64 for what is too delicate for float32, and float16 for weights that
may lose some bits: it is read as float32.

Codes 65 to 69 are vectors: the payload is the numbers. 81 to 85 are matrices of fewer than 65,536
rows: the numbers, then 2 bytes for how many rows they are. In 17 to 21 a payload begins with one
byte for the number of dimensions and 4 bytes for the length of each, then zeros up to a multiple of
the item's size. msgpack hands a payload out as bytes of its own, so the numbers are aligned in
them, and an array that is read is a view of them.

Earlier versions wrote 33 to 37 for vectors and 49 to 53 for matrices, with 2 bytes for each length
and zeros before the numbers, and 1 to 4 as 17 to 20, with no zeros in between. They are read.
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
_KINDS = [*_PACKED.values(), np.dtype("<f2")]
_WIDE = {17 + place: dtype for place, dtype in enumerate(_KINDS)}
_SHORT = {16 * (1 + n) + 1 + place: dtype for n in (1, 2) for place, dtype in enumerate(_KINDS)}
_BARE = {48 + 16 * n + 1 + place: dtype for n in (1, 2) for place, dtype in enumerate(_KINDS)}
_DTYPES = _PACKED | _WIDE | _SHORT | _BARE
# Vectors that are read as they lie there, which nearly all arrays of a bank are.
_AS_THEY_LIE = {
    code: dtype
    for code, dtype in _BARE.items()
    if code < 81 and dtype.isnative and dtype.itemsize > 2
}
_ROWS = struct.Struct("<H")
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
    little, place = value.astype(value.dtype.newbyteorder("<"), copy=False), _PLACES[value.dtype]
    if value.ndim == 1:
        return msgpack.ExtType(65 + place, little.tobytes())
    if value.size and len(value) < 1 << 16:
        return msgpack.ExtType(81 + place, little.tobytes() + _ROWS.pack(len(value)))
    header = struct.pack("<B2I", 2, *value.shape)
    header += bytes(-len(header) % value.itemsize)
    return msgpack.ExtType(17 + place, header + little.tobytes())


def unpack_array(code: int, data: bytes) -> Any:
    """msgpack's ``ext_hook``: a read-only array, where possible a view of the data.

    Raises:
        CodecError: an unknown extension type, or a shape that does not fit the data.
    """
    plain = _AS_THEY_LIE.get(code)
    if plain is not None and data and len(data) % plain.itemsize == 0:
        vector = np.frombuffer(data, plain)
        if vector.flags.aligned and not vector.flags.writeable:
            return vector
    if code not in _DTYPES:
        raise CodecError(f"extension type {code} is not known here: only {sorted(_DTYPES)} are")
    dtype = _DTYPES[code]
    start, shape = _bare_shape(code, data) if code in _BARE else _shape(code, data)
    view = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)
    native = np.dtype(np.float32) if dtype.itemsize == 2 else dtype.newbyteorder("=")
    array = np.require(view, native, ["A"])
    array.flags.writeable = False
    return array


def _bare_shape(code: int, data: bytes) -> tuple[int, tuple[int, ...]]:
    """Where the numbers begin, and their shape, which follows from how many there are.

    Raises:
        CodecError: they are no whole number, or no whole rows.
    """
    size = _DTYPES[code].itemsize
    if code < 81:
        count, rest, rows = *divmod(len(data), size), 1
    elif len(data) < _ROWS.size:
        raise CodecError("a matrix ends before its number of rows: the bytes are truncated")
    else:
        count, rest = divmod(len(data) - _ROWS.size, size)
        (rows,) = _ROWS.unpack_from(data, len(data) - _ROWS.size)
    if rest or rows == 0 or count % rows:
        raise CodecError(f"{len(data)} bytes are no {rows} rows of an array: damaged")
    return 0, (count,) if code < 81 else (rows, count // rows)


def _shape(code: int, data: bytes) -> tuple[int, tuple[int, ...]]:
    """Where the numbers begin, after their shape.

    Raises:
        CodecError: the shape does not fit the data.
    """
    dtype, lengths = _DTYPES[code], _lengths(code, data)
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
    return start, shape


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
