"""Patterns made ready for the database, outside of any transaction."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lorabank import codec
from lorabank.errors import CodecError, EmbeddingSpaceError, InvalidInputError
from lorabank.turns import unhurried
from lorabank.types.arrays import unit_vector
from lorabank.types.pattern import Pattern
from lorabank.types.skill import Skill
from lorabank_faiss import columns


def encoded(value: Pattern | Skill, kind: str) -> bytes:
    """Codec bytes. Raises InvalidInputError if a field was made impossible after its checks."""
    try:
        return codec.encode(value, kind)
    except CodecError as exc:
        raise InvalidInputError(kind, value.id, f"one that can be stored ({exc})") from exc


class Record(NamedTuple):
    """One pattern: the values of its row in ``pattern`` behind key and namespace, and its body."""

    id: str
    columns: tuple[Any, ...]
    crc: int
    unit: bytes
    body: bytes

    @property
    def user_key(self) -> str:
        """Of the pattern."""
        return str(self.columns[columns.USER_KEY])

    @property
    def created_at(self) -> float:
        """Of the pattern, unix seconds."""
        return float(self.columns[columns.CREATED_AT])

    @property
    def bytes(self) -> int:
        """Of vector and body."""
        return len(self.unit) + len(self.body)

    @classmethod
    def of(cls, pattern: Pattern) -> Record:
        """Encode a pattern."""
        body = encoded(pattern, "pattern")  # checks everything
        unit = unit_vector(pattern.context).astype("<f4").tobytes()
        return cls(pattern.id, columns.stored(pattern), zlib.crc32(unit), unit, body)


class Batch(NamedTuple):
    """Records by namespace and the one dimension that they have; of equal ids the last counts."""

    dim: int
    records: dict[str, list[Record]]

    @classmethod
    def of(cls, patterns: Sequence[Pattern]) -> Batch:
        """Raises InvalidInputError (not patterns), EmbeddingSpaceError (several dimensions)."""
        found: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        for pattern in unhurried(patterns):
            if not isinstance(pattern, Pattern):
                raise InvalidInputError("patterns", pattern, "Pattern objects")
            if pattern.dim != patterns[0].dim:
                raise EmbeddingSpaceError(
                    f"patterns of dimension {patterns[0].dim} and {pattern.dim}"
                )
            found[pattern.namespace][pattern.id] = Record.of(pattern)
        dim = patterns[0].dim if patterns else 0
        return cls(dim, {name: list(records.values()) for name, records in found.items()})


def units_of(blobs: Sequence[bytes], dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 (n, dim) from the ``unit`` columns of n rows."""
    return np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), dim)
