"""The envelope around a record: magic, version, kind and checksum."""

from __future__ import annotations

import struct
import zlib
from typing import Any, TypeVar

import msgpack

from lorabank.codec.arrays import pack_array, unpack_array
from lorabank.codec.records import from_record, to_record
from lorabank.codec.structure import check_structure
from lorabank.errors import CodecError, InvalidInputError

T = TypeVar("T")
FORMAT_VERSION = 3
# Version 2 had longer arrays, and choices by name; version 1 had longer floats as well, and no
# record without its last Nones: all still read.
READABLE = (1, 2, FORMAT_VERSION)
_MAGIC = b"LoRA"
_HEADER = struct.Struct("<4sBBI")
_KINDS = {"adapter": 1, "pattern": 2, "skill": 3, "feedback": 4, "population": 5}


def encode(value: Any, kind: str) -> bytes:
    """Bytes of a dataclass. ``kind`` is one of the names in ``_KINDS``.

    What `decode` would refuse is not written: a field's value outside its annotation, NaN.

    Raises:
        CodecError: a field holds something that can't be encoded, or not be read back.
    """
    try:
        record = to_record(value)
        body: bytes = msgpack.packb(record, default=pack_array, strict_types=True)
    except (ValueError, TypeError, OverflowError) as exc:
        raise CodecError(f"the {kind} can't be encoded: {exc}") from exc
    return _HEADER.pack(_MAGIC, FORMAT_VERSION, _KINDS[kind], zlib.crc32(body)) + body


def decode(cls: type[T], kind: str, data: bytes | bytearray | memoryview) -> T:
    """The dataclass that `encode` was given, equal bit by bit.

    Raises:
        CodecError: not such bytes, another kind, an unknown version, damaged or truncated.
    """
    body = _checked_body(kind, data)
    try:
        check_structure(body)
        record = msgpack.unpackb(body, ext_hook=unpack_array, max_map_len=0)  # records hold none
        return from_record(cls, record)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as exc:
        if isinstance(exc, InvalidInputError):
            raise CodecError(f"the {kind} holds an impossible value: {exc}") from exc
        why = str(exc) or type(exc).__name__
        raise CodecError(f"the {kind}'s body can't be read: {why}") from exc


def _checked_body(kind: str, data: bytes | bytearray | memoryview) -> memoryview:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise CodecError(f"can't decode {type(data).__name__}: bytes are needed")
    if isinstance(data, memoryview):
        data = data.tobytes()  # of any layout
    if len(data) < _HEADER.size:
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
    body = memoryview(data)[_HEADER.size :]
    if zlib.crc32(body) != checksum:
        raise CodecError(f"the {kind}'s checksum does not match: damaged or truncated")
    return body
