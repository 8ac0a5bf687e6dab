"""Messages as format version 3 wrote them: the codec itself only reads them."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgpack
import numpy as np

_PLACES = {np.dtype(kind): place for place, kind in enumerate(("f4", "i8", "i4", "f8", "f2"))}


def former_message(record: list[Any], code: int = 1, version: int = 3) -> bytes:
    """Of a record, with arrays or with extensions in their places."""
    body = msgpack.packb(record, default=_pack_array, strict_types=True)
    return struct.pack("<4sBBI", b"LoRA", version, code, zlib.crc32(body)) + body


def _pack_array(value: Any) -> msgpack.ExtType:
    place = _PLACES[value.dtype]
    if value.ndim == 1:
        return msgpack.ExtType(65 + place, value.tobytes())
    return msgpack.ExtType(81 + place, value.tobytes() + struct.pack("<H", len(value)))
