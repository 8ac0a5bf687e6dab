"""Indexes on disk: one file for each namespace that has an approximate index.

A file holds the approximate index and what is known of its rows, up to one number of the change
sequence; the rest is caught up from the database. It is written beside, synced and renamed, so a
crash leaves the old one or the new one.

Snapshots only save time. One that does not fit in any respect is ignored.
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path

import msgpack

from lorabank.logs import get_logger
from lorabank.types.space import EmbeddingSpace
from lorabank_faiss import snapshot_file
from lorabank_faiss.contents import Contents
from lorabank_faiss.reading import State
from lorabank_faiss.snapshot_file import Header

_log = get_logger("lorabank_faiss")


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
                return snapshot_file.read_header(file)
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
                snapshot_file.write(file, header, contents)
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
            reason, found = "damaged", snapshot_file.read(path)
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


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
