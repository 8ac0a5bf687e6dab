"""The format of a snapshot.

8 bytes magic | 4 bytes length of the header | header (msgpack) | arrays | both FAISS indexes |
4 bytes CRC-32 of all before.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import numpy as np

from lorabank_faiss import columns
from lorabank_faiss.approximate import Approximate
from lorabank_faiss.contents import Contents
from lorabank_faiss.native import faiss

_MAGIC = b"LRBFAIS1"
_LENGTH = struct.Struct("<I")
_BLOCK = 1 << 20
_ARRAYS = (("keys", np.int64), ("checksums", np.int64), ("columns", columns.DTYPE), ("alive", "?"))


@dataclass(frozen=True, slots=True)
class Header:
    """Whose snapshot it is and how far it goes.

    Attributes:
        bank_id, code: the bank and the namespace in it.
        dim, space: of the vectors; the space as text, None before it was bound.
        rows: in the index, dead ones included.
        living, checksum: number and sum of checksums of those alive.
        sequence: changes up to here are in it.
        trained_for: number of rows that the index was trained for.
    """

    bank_id: str
    code: int
    dim: int
    space: str | None
    rows: int
    living: int
    checksum: int
    sequence: int
    trained_for: int


def write(file: BinaryIO, header: Header, contents: Contents) -> None:
    """The first ``header.rows`` rows of ``contents``, all of which are merged."""
    assert contents.main is not None
    out = _Summed(file)
    described = msgpack.packb(asdict(header))
    out.write(_MAGIC + _LENGTH.pack(len(described)) + described)
    for name, dtype in _ARRAYS:
        array = getattr(contents.rows, name).values[: header.rows]
        out.write(np.ascontiguousarray(array, dtype).tobytes())
    for index in (contents.main.coarse, contents.main.codes):
        faiss.write_index(index, faiss.PyCallbackIOWriter(out.write, _BLOCK))
    file.write(_LENGTH.pack(out.crc))


def read(path: Path) -> tuple[Header, Contents]:
    """A whole snapshot.

    Raises: OSError; ValueError, TypeError, RuntimeError, struct.error if it is damaged.
    """
    with path.open("rb") as file:
        _check_sum(file)
        header = read_header(file)
        contents = Contents(header.dim)
        arrays: list[Any] = []
        for _, dtype in _ARRAYS:
            arrays.append(np.fromfile(file, dtype, header.rows))
        contents.rows.extend(*arrays)
        reader = faiss.PyCallbackIOReader(file.read, _BLOCK)
        coarse, codes = faiss.read_index(reader), faiss.read_index(reader)
    contents.main = Approximate(coarse, codes, header.trained_for)
    contents.sequence = header.sequence
    rows = contents.rows
    counts = (len(rows), coarse.ntotal, codes.ntotal, rows.living, rows.checksum)
    if counts != (*(header.rows,) * 3, header.living, header.checksum):
        raise ValueError("the index does not hold what its header says")
    return header, contents


def read_header(file: BinaryIO) -> Header:
    """From a file at its start. Raises as `read` does."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("not a snapshot of this format")
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    return Header(**msgpack.unpackb(file.read(min(length, _BLOCK))))


def _check_sum(file: BinaryIO) -> None:
    """Read the file once; leaves it at its start. Raises ValueError if the checksum is wrong."""
    left, crc = os.fstat(file.fileno()).st_size - _LENGTH.size, 0
    while left > 0:
        block = file.read(min(left, _BLOCK))
        if not block:
            break
        crc = zlib.crc32(block, crc)
        left -= len(block)
    if left or file.read() != _LENGTH.pack(crc):
        raise ValueError("wrong checksum")
    file.seek(0)


class _Summed:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: bytes) -> None:
        self.crc = zlib.crc32(data, self.crc)
        self._file.write(data)
