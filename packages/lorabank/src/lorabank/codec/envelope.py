"""The envelope around a record: magic, version, kind and checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgpack

from lorabank.codec.arrays import ArrayReader, ArrayWriter
from lorabank.codec.former import unpack_former_array
from lorabank.codec.records import from_record, to_record
from lorabank.codec.structure import check_structure
from lorabank.errors import CodecError, InvalidInputError

T = TypeVar("T")
FORMAT_VERSION = 4
# Version 3 had its arrays within the record, version 2 longer ones, and choices by name; version 1
# had longer floats as well, and no record without its last Nones: all still read.
READABLE = (1, 2, 3, FORMAT_VERSION)
_MAGIC = b"LoRA"
_HEADER = struct.Struct("<4sBBI")
_VERSION_AT = 4
_LONG = 255  # a record of so many bytes or more has its size in 4 bytes, after this one
_KINDS = {"adapter": 1, "pattern": 2, "skill": 3, "feedback": 4, "population": 5}


def encode(value: Any, kind: str) -> bytes:
    """Bytes of a dataclass. ``kind`` is one of the names in ``_KINDS``.

    What `decode` would refuse is not written: a field's value outside its annotation, NaN.

    Raises:
        CodecError: a field holds something that can't be encoded, or not be read back.
    """
    try:
        return pack_record(to_record(value), kind)
    except (ValueError, TypeError, OverflowError) as exc:
        raise CodecError(f"the {kind} can't be encoded: {exc}") from exc


def pack_record(record: list[Any], kind: str) -> bytes:
    """The message of a record that `to_record` made. Raises what msgpack does."""
    arrays = ArrayWriter()
    packed: bytes = msgpack.packb(record, default=arrays, strict_types=True)
    size = _size(len(packed))
    body = [size, packed, *arrays.parts(_HEADER.size + len(size) + len(packed))]
    checksum = 0
    for part in body:
        checksum = zlib.crc32(part, checksum)
    return b"".join((_HEADER.pack(_MAGIC, FORMAT_VERSION, _KINDS[kind], checksum), *body))


def _size(length: int) -> bytes:
    return bytes([length]) if length < _LONG else bytes([_LONG]) + length.to_bytes(4, "little")


def decode(cls: type[T], kind: str, data: bytes | bytearray | memoryview) -> T:
    """The dataclass that `encode` was given, equal bit by bit; its arrays are views of ``data``.

    Of bytes that could change (a bytearray, a memoryview) they are views of a copy.

    Raises:
        CodecError: not such bytes, another kind, an unknown version, damaged or truncated.
    """
    message = _checked(kind, data)
    try:
        return from_record(cls, unpack_record(message))
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as exc:
        if isinstance(exc, InvalidInputError):
            raise CodecError(f"the {kind} holds an impossible value: {exc}") from exc
        why = str(exc) or type(exc).__name__
        raise CodecError(f"the {kind}'s body can't be read: {why}") from exc


def unpack_record(message: bytes) -> Any:
    """The record in a message whose header and checksum are right. Raises what msgpack does."""
    body = memoryview(message)[_HEADER.size :]
    if message[_VERSION_AT] < FORMAT_VERSION:
        return _unpacked(body, unpack_former_array)
    start = 1 if body[0] < _LONG else 5
    size = body[0] if start == 1 else int.from_bytes(body[1:5], "little")
    if start + size > len(body):
        raise CodecError(f"a record of {size} bytes in {len(body)}: the bytes are truncated")
    arrays = ArrayReader(message, _HEADER.size + start + size)
    record = _unpacked(body[start : start + size], arrays)
    arrays.finish()
    return record


def _unpacked(record: memoryview, ext_hook: Callable[[int, bytes], Any]) -> Any:
    check_structure(record)
    return msgpack.unpackb(record, ext_hook=ext_hook, max_map_len=0)  # records hold none


def _checked(kind: str, data: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise CodecError(f"can't decode {type(data).__name__}: bytes are needed")
    if not isinstance(data, bytes):
        data = bytes(data)  # what is read is a view of it, and must not change
    if len(data) <= _HEADER.size:
        raise CodecError(f"{len(data)} bytes are too few for any {kind}: truncated")
    magic, version, code, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise CodecError(f"these bytes start with {magic!r}, not {_MAGIC!r}: not a lorabank {kind}")
    if version not in READABLE:
        raise CodecError(
            f"format version {version} is not known here (this is {FORMAT_VERSION}): "
            "upgrade lorabank, or write the data with a version that fits"
        )
    if code != _KINDS[kind]:
        raise CodecError(f"kind {code} is not the {kind} kind ({_KINDS[kind]})")
    if zlib.crc32(memoryview(data)[_HEADER.size :]) != checksum:
        raise CodecError(f"the {kind}'s checksum does not match: damaged or truncated")
    return data
