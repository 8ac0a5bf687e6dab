"""What is kept remotely: patterns, skills and the embedding space, each in versions.

A new version of a record is stored before the old one is removed, so whoever reads in between (or
after a crash) finds one of them: the highest revision counts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lorabank.types.pattern import Pattern
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace

PATTERN, SKILL, SPACE = "pattern", "skill", "space"
_SESSION = "lorabank-"


class Key(NamedTuple):
    """Which record: its kind, namespace and id."""

    kind: str
    namespace: str
    id: str


SPACE_KEY = Key(SPACE, "", SPACE)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One version of a pattern, a skill, or the store's embedding space."""

    revision: str
    value: Pattern | Skill | EmbeddingSpace

    @property
    def key(self) -> Key:
        """Which record this is a version of."""
        if isinstance(self.value, EmbeddingSpace):
            return SPACE_KEY
        kind = PATTERN if isinstance(self.value, Pattern) else SKILL
        return Key(kind, self.value.namespace, self.value.id)


def session_of(revision: str) -> str:
    """The remote session id of a version: what it is deleted by."""
    return f"{_SESSION}{revision}"


class Revisions:
    """Gives growing revisions: nanoseconds, never behind what they replace, and this writer."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._writer = secrets.token_hex(4)
        self._last = 0

    def next(self, after: str | None = None) -> str:
        """A revision later than all given so far, and than ``after``."""
        held = 0 if after is None else int(after[:16], 16)
        self._last = max(self._wall_ns(), self._last + 1, held + 1)
        return f"{self._last:016x}-{self._writer}"
