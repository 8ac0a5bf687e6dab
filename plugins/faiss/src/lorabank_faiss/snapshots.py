"""Indexes on disk: one file for each namespace that has an approximate index.

A file holds the approximate index and what is known of its rows, up to one number of the change
sequence; the rest is caught up from the database. Layout: 8 bytes magic | 4 bytes length of the
header | header (msgpack) | arrays | both FAISS indexes | 4 bytes CRC-32 of all before. It is
written beside, synced and renamed, so a crash leaves the old one or the new one.

Snapshots only save time. One that does not fit in any respect is ignored.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import numpy as np

from lorabank.logs import get_logger
from lorabank.types.space import EmbeddingSpace
from lorabank_faiss import columns
from lorabank_faiss.approximate import Approximate
from lorabank_faiss.contents import Contents
from lorabank_faiss.native import faiss
from lorabank_faiss.reading import State

_log = get_logger("lorabank_faiss")
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


class Snapshots:
    """The snapshots of a bank. Methods block."""

    def __init__(self, directory: Path, bank_id: str) -> None:
        self._directory = directory / "index"
        self._bank_id = bank_id

    def path(self, code: int) -> Path:
        """Of a namespace's snapshot."""
        return self._directory / f"{code}.snapshot"

    def header(self, code: int) -> Header | None:
        """What the snapshot on disk says of itself, unchecked; None without a readable one."""
        try:
            with self.path(code).open("rb") as file:
                return _read_header(file)
        except (OSError, ValueError, TypeError, struct.error, msgpack.exceptions.UnpackException):
            return None

    def save(self, contents: Contents, code: int, space: EmbeddingSpace | None) -> Header:
        """Write the merged rows of ``contents``, which nobody may change meanwhile.

        Raises: OSError.
        """
        header = self._describe(contents, code, space)
        self._directory.mkdir(exist_ok=True)
        for leftover in self._directory.glob(f"{code}.*.new"):
            leftover.unlink(missing_ok=True)
        new = self._directory / f"{code}.{secrets.token_hex(8)}.new"
        try:
            with new.open("wb") as file:
                _write(file, header, contents)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path(code))
        finally:
            new.unlink(missing_ok=True)
        _sync_directory(self._directory)
        return header

    def load(self, state: State, dim: int, space: EmbeddingSpace | None) -> Contents | None:
        """The snapshot of a namespace if it is whole and belongs to this state of the bank."""
        path = self.path(state.code)
        if not path.exists():
            return None
        try:
            reason, found = "damaged", _read(path)
        except (OSError, ValueError, TypeError, RuntimeError, struct.error) as exc:
            reason, found = f"damaged: {exc}", None
        if found is not None:
            reason = self._mismatch(found[0], state, dim, space)
            if not reason:
                return found[1]
        _log.warning("index snapshot is not used", snapshot=str(path), reason=reason)
        return None

    def _describe(self, contents: Contents, code: int, space: EmbeddingSpace | None) -> Header:
        main, rows = contents.main, contents.merged
        assert main is not None
        alive = contents.rows.alive.values[:rows]
        return Header(
            bank_id=self._bank_id,
            code=code,
            dim=contents.dim,
            space=None if space is None else str(space),
            rows=rows,
            living=int(alive.sum()),
            checksum=int(contents.rows.checksums.values[:rows][alive].sum()),
            sequence=contents.covered,
            trained_for=main.trained_for,
        )

    def _mismatch(
        self, header: Header, state: State, dim: int, space: EmbeddingSpace | None
    ) -> str:
        if (header.bank_id, header.code) != (self._bank_id, state.code):
            return "of another bank"
        if header.dim != dim or header.space not in (None, None if space is None else str(space)):
            return "of another embedding space"
        if header.sequence < state.pruned:
            return "stale: changes since then were pruned"
        if header.sequence > state.changed:
            return "of a later state than the database's: was that restored from a backup?"
        return ""


def _write(file: BinaryIO, header: Header, contents: Contents) -> None:
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


def _read(path: Path) -> tuple[Header, Contents]:
    with path.open("rb") as file:
        _check_sum(file)
        header = _read_header(file)
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


def _read_header(file: BinaryIO) -> Header:
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


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
