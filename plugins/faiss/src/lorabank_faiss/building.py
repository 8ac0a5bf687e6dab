"""Building an approximate index from the database, block by block."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

import numpy as np

from lorabank.logs import get_logger
from lorabank.types.arrays import FloatArray, IntArray
from lorabank_faiss import columns
from lorabank_faiss.approximate import Approximate, sample_size
from lorabank_faiss.catching import append, catch_up, units_by_key
from lorabank_faiss.contents import Contents
from lorabank_faiss.pool import transaction
from lorabank_faiss.reading import blocks, keys_of, state_of
from lorabank_faiss.threads import single

_log = get_logger("lorabank_faiss")
_BLOCK = 4_000
_SAMPLE_BLOCK = 500
_REPORT_EVERY = 2.0  # seconds
_ROWS = (
    f"SELECT key, crc, unit, {columns.SELECTED} FROM pattern "
    "WHERE namespace = ? AND key > ? AND key <= ? ORDER BY key LIMIT ?"
)


class Builder:
    """Builds one namespace's index; the database may be changed meanwhile.

    Args:
        connection: for reading, used by this object alone.
        name: of the namespace.
        dim: of its vectors.
        check: called between blocks; what it raises ends the work.
    """

    def __init__(
        self, connection: sqlite3.Connection, name: str, dim: int, check: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._name = name
        self._dim = dim
        self._check = check
        self._reported = time.monotonic()

    def build(self) -> Contents:
        """A new index, as of a moment during the call."""
        with transaction(self._connection):
            state = state_of(self._connection, self._name)
            assert state is not None
            found = self._connection.execute(
                "SELECT key FROM pattern WHERE namespace = ? AND key <= ?",
                (state.code, state.changed),
            )
            keys = keys_of(found)
        _log.info("building an index", namespace=self._name, patterns=len(keys))
        contents = Contents(self._dim)
        with single():
            contents.main = Approximate.train(self._sample(keys), len(keys))
            self._fill(contents, state.code, state.changed, len(keys))
        self._catch_up(contents)
        _log.info("the index is built", namespace=self._name, patterns=len(contents.rows))
        return contents

    def _sample(self, keys: IntArray) -> FloatArray:
        size = min(len(keys), sample_size(len(keys)))
        chosen = np.sort(np.random.default_rng(0).choice(keys, size, replace=False))
        blocks = []
        for start in range(0, size, _SAMPLE_BLOCK):
            self._check()
            with transaction(self._connection):
                block = chosen[start : start + _SAMPLE_BLOCK]
                blocks.append(units_by_key(self._connection, block, self._dim, strict=False))
        return np.concatenate(blocks)

    def _fill(self, contents: Contents, code: int, last: int, count: int) -> None:
        key = 0
        while True:
            self._check()
            found = self._connection.execute(_ROWS, (code, key, last, _BLOCK))
            for rows in blocks(found):
                append(contents, rows)
                key = rows[-1][0]
            if not len(contents.tail):
                break
            contents.merge(len(contents.tail))
            self._report(len(contents.rows), count)
        contents.sequence = last

    def _catch_up(self, contents: Contents) -> None:
        with transaction(self._connection):
            state = state_of(self._connection, self._name)
            assert state is not None
            catch_up(self._connection, contents, state)

    def _report(self, done: int, count: int) -> None:
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY:
            self._reported = now
            _log.info("building an index", namespace=self._name, done=done, of=count)
