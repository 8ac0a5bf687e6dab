"""Bringing an index up to date from the database."""

from __future__ import annotations

import sqlite3
import zlib

import numpy as np

from lorabank.errors import BankRejectedError
from lorabank.types.arrays import FloatArray, IntArray
from lorabank_faiss import columns
from lorabank_faiss.contents import Contents
from lorabank_faiss.reading import State, blocks, by_key, keys_of
from lorabank_faiss.records import units_of

_ROWS = (
    f"SELECT key, crc, unit, {columns.SELECTED} FROM pattern "
    f"WHERE namespace = ? AND key > ? AND key <= ? ORDER BY key"
)
_DEAD = "SELECT key FROM tombstone WHERE namespace = ? AND sequence > ? ORDER BY sequence"


def catch_up(connection: sqlite3.Connection, contents: Contents, state: State) -> None:
    """Read what changed since ``contents.sequence``, within the transaction that gave ``state``.

    Raises: BankRejectedError if a stored vector is damaged.
    """
    found = connection.execute(_ROWS, (state.code, contents.sequence, state.changed))
    for rows in blocks(found):
        append(contents, rows)
    contents.rows.bury(buried_since(connection, state.code, contents.sequence))
    contents.sequence = state.changed


def buried_since(connection: sqlite3.Connection, code: int, sequence: int) -> IntArray:
    """Keys that a namespace's tombstones since then name, int64 (n,)."""
    dead = connection.execute(_DEAD, (code, sequence))
    return keys_of(dead)


def append(contents: Contents, rows: list[tuple[object, ...]]) -> FloatArray:
    """Add rows as `_ROWS` selects them; returns their vectors (n, dim)."""
    keys, checksums, blobs, *values = zip(*rows, strict=True)
    units = checked_units(blobs, checksums, contents.dim)
    contents.append(keys, checksums, list(zip(*values, strict=True)), units)
    return units


def checked_units(blobs: tuple[object, ...], checksums: tuple[object, ...], dim: int) -> FloatArray:
    """float32 (n, dim) from stored bytes. Raises BankRejectedError if they are damaged."""
    for blob, checksum in zip(blobs, checksums, strict=True):
        if not isinstance(blob, bytes) or len(blob) != 4 * dim or zlib.crc32(blob) != checksum:
            raise BankRejectedError("a stored vector is damaged: restore the bank from a backup")
    return units_of(blobs, dim)  # type: ignore[arg-type]


def agrees(contents: Contents, state: State) -> bool:
    """Whether index and table hold the same patterns: as many, and with the same checksums."""
    rows = contents.rows
    return (
        contents.sequence == state.changed
        and rows.living == state.patterns
        and rows.checksum == state.checksum
    )


def units_by_key(
    connection: sqlite3.Connection, keys: IntArray, dim: int, *, strict: bool = True
) -> FloatArray:
    """Stored vectors float32 (n, dim) in the order of their keys.

    Raises: BankRejectedError if one is damaged; or missing, unless ``strict`` is false.
    """
    wanted = keys.tolist()
    found = by_key(connection, "crc, unit", wanted, strict=strict)
    there = [found[key] for key in wanted if key in found]
    if not there:
        return np.empty((0, dim), np.float32)
    checksums, blobs = zip(*there, strict=True)
    return checked_units(blobs, checksums, dim)
