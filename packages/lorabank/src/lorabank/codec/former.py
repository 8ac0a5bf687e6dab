"""Arrays as format versions 1 to 3 wrote them, within the record: they are read, not written.

A payload of codes 65 to 69 is a vector's numbers, and of 81 to 85 a matrix's, with its number of
rows in 2 bytes at the end. 33 to 37 are vectors and 49 to 53 matrices, with 2 bytes for each length
and zeros up to a multiple of the item's size before the numbers. In 17 to 21 one byte has the
number of dimensions and 4 bytes each length, then such zeros, and in 1 to 4 there are no zeros.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from lorabank.codec.arrays import KINDS, as_read
from lorabank.errors import CodecError

_PACKED = {1 + place: dtype for place, dtype in enumerate(KINDS[:4])}
_WIDE = {17 + place: dtype for place, dtype in enumerate(KINDS)}
_SHORT = {16 * (1 + n) + 1 + place: dtype for n in (1, 2) for place, dtype in enumerate(KINDS)}
_BARE = {48 + 16 * n + 1 + place: dtype for n in (1, 2) for place, dtype in enumerate(KINDS)}
_DTYPES = _PACKED | _WIDE | _SHORT | _BARE
_ROWS = struct.Struct("<H")
_SHORT_LENGTHS, _WIDE_LENGTHS = (
    {n: struct.Struct(f"<{n}{kind}") for n in (1, 2)} for kind in ("H", "I")
)


def unpack_former_array(code: int, data: bytes) -> Any:
    """msgpack's ``ext_hook``: a read-only array.

    Raises:
        CodecError: an unknown extension type, or a shape that does not fit the data.
    """
    if code not in _DTYPES:
        raise CodecError(f"extension type {code} is not known here: only {sorted(_DTYPES)} are")
    dtype = _DTYPES[code]
    start, shape = _bare_shape(code, data) if code in _BARE else _shape(code, data)
    view = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)
    return as_read(view)


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
