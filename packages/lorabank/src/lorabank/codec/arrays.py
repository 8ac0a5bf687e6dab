"""Arrays beside the record: little-endian, of one or two dimensions, as they lie in memory.

Float32, int64 and int32, float64 for what is too delicate for float32, and float16 for weights that
may lose some bits: it is read as float32.

In the record an array is an extension that has its lengths: of a vector (codes 97 to 101) in 1, 2
or 4 bytes, of a matrix (113 to 117) both, in as many each. Its numbers come after the record, in
the order in which the record names the arrays, after zeros up to a multiple of their own size.
So an array that is read is a view of the message: loading copies nothing.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from lorabank.errors import CodecError

KINDS: tuple[np.dtype[Any], ...] = tuple(map(np.dtype, ("<f4", "<i8", "<i4", "<f8", "<f2")))
_PLACES = {dtype.newbyteorder("="): place for place, dtype in enumerate(KINDS)}
_FIRST = {1: 97, 2: 113}  # code of the first kind, by the number of dimensions
_DTYPES = {code + n: (dims, KINDS[n]) for dims, code in _FIRST.items() for n in range(len(KINDS))}
# By the number of dimensions and the bytes of the lengths.
_LENGTHS = {
    (dims, dims * width): struct.Struct(f"<{dims}{kind}")
    for dims in _FIRST
    for width, kind in ((1, "B"), (2, "H"), (4, "I"))
}


class ArrayWriter:
    """msgpack's ``default`` hook: puts arrays aside and leaves their shapes in the record."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []

    def __call__(self, value: object) -> msgpack.ExtType:
        """The extension that stands for an array.

        Raises:
            CodecError: anything but an array of one or two dimensions of these types.
        """
        if (
            not isinstance(value, np.ndarray)
            or value.dtype not in _PLACES
            or value.ndim not in _FIRST
            or max(value.shape) >= 1 << 32
        ):
            raise CodecError(
                f"can't encode {type(value).__name__}: only plain data and arrays of "
                "float32, float64, float16, int64 or int32"
            )
        place = _PLACES[value.dtype]
        self._arrays.append(np.ascontiguousarray(value, KINDS[place]))
        longest = max(value.shape)
        width = 1 if longest < 1 << 8 else 2 if longest < 1 << 16 else 4
        lengths = _LENGTHS[value.ndim, value.ndim * width].pack(*value.shape)
        return msgpack.ExtType(_FIRST[value.ndim] + place, lengths)

    def parts(self, start: int) -> list[bytes | memoryview]:
        """The arrays with the zeros before each, ``start`` bytes after the message's beginning."""
        found: list[bytes | memoryview] = []
        for array in self._arrays:
            zeros = -start % array.itemsize
            found += (bytes(zeros), array.data)
            start += zeros + array.nbytes
        return found


class ArrayReader:
    """msgpack's ``ext_hook``: read-only views of a message's arrays, which begin at ``start``."""

    def __init__(self, message: bytes, start: int) -> None:
        self._message = message
        self._next = start

    def __call__(self, code: int, lengths: bytes) -> NDArray[Any]:
        """The array that an extension stands for.

        Raises:
            CodecError: an unknown extension type, or an array that is not there.
        """
        if code not in _DTYPES:
            raise CodecError(f"extension type {code} is not known here: only {sorted(_DTYPES)} are")
        dims, dtype = _DTYPES[code]
        layout = _LENGTHS.get((dims, len(lengths)))
        if layout is None:
            raise CodecError(f"{len(lengths)} bytes are no lengths of {dims} dimensions: damaged")
        shape = layout.unpack(lengths)
        count = shape[0] if dims == 1 else shape[0] * shape[1]
        start = self._next + -self._next % dtype.itemsize
        end = start + count * dtype.itemsize
        if end > len(self._message):
            raise CodecError(
                f"an array of shape {shape} ends {end - len(self._message)} bytes late"
            )
        if start > self._next and any(self._message[self._next : start]):
            raise CodecError("there is something between two arrays: the bytes are damaged")
        self._next = end
        return as_read(np.frombuffer(self._message, dtype, count, start).reshape(shape))

    def finish(self) -> None:
        """Nothing, if all was read.

        Raises:
            CodecError: there is something after the last array.
        """
        if (rest := len(self._message) - self._next) != 0:
            raise CodecError(f"{rest} bytes after the last array: the bytes are damaged")


def as_read(view: NDArray[Any]) -> NDArray[Any]:
    """A read-only array to compute with: native, aligned, and float32 where it is float16."""
    native = np.dtype(np.float32) if view.dtype.itemsize == 2 else view.dtype.newbyteorder("=")
    array = np.require(view, native, ["A"])
    array.flags.writeable = False
    return array
