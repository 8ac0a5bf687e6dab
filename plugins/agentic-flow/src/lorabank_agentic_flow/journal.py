"""What the server acknowledged but may still forget.

sql.js keeps writes in memory until it saves, every five minutes or when it is stopped. Until a
write is known to be saved it stays here, and is put back if the server turns out to have lost it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from lorabank.logs import get_logger
from lorabank_agentic_flow.client import Episode
from lorabank_agentic_flow.records import Key, Record

_log = get_logger("lorabank_agentic_flow.journal")
_ENTRY_BYTES = 512


@dataclass(frozen=True, slots=True)
class Stored:
    """A version that must be there."""

    record: Record
    episode: Episode
    at: float

    @property
    def nbytes(self) -> int:
        """Roughly."""
        return len(self.episode.task) + _ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Removed:
    """A version (and all before it) that must not be there."""

    revision: str
    at: float

    @property
    def nbytes(self) -> int:
        """Roughly."""
        return _ENTRY_BYTES


Entry: TypeAlias = Stored | Removed


class Journal:
    """The last word on each record that is not known to be saved, oldest first.

    Args:
        limit: bytes; beyond it the oldest entries are given up, which is logged.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._bytes = 0
        self._new: list[Key] = []  # since `fresh` was asked

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        """Whether it is more than half full: time to have the server save."""
        return 2 * self._bytes > self._limit

    def stored(self, record: Record, episode: Episode, at: float) -> None:
        """A version was acknowledged at this time (unix seconds)."""
        held = self._entries.get(record.key)
        revision = held.record.revision if isinstance(held, Stored) else ""
        if record.revision > revision:
            self._add(record.key, Stored(record, episode, at))

    def removed(self, versions: Iterable[tuple[Key, str]], at: float) -> None:
        """These versions were removed."""
        for key, revision in versions:
            held = self._entries.get(key)
            if not isinstance(held, Stored) or held.record.revision <= revision:
                self._add(key, Removed(revision, at))

    def release(self, saved_until: float) -> None:
        """Forget what was acknowledged before this time."""
        while self._entries:
            key = next(iter(self._entries))
            if self._entries[key].at >= saved_until:
                break
            self._bytes -= self._entries.pop(key).nbytes

    @property
    def nbytes(self) -> int:
        """Roughly what it holds."""
        return self._bytes

    def entries(self) -> list[tuple[Key, Entry]]:
        """All of them, oldest first."""
        return list(self._entries.items())

    def fresh(self) -> list[tuple[Key, Entry]]:
        """Those added since this was last asked, and not released."""
        new, self._new = dict.fromkeys(self._new), []
        return [(key, self._entries[key]) for key in new if key in self._entries]

    def unwritten(self, entries: Iterable[tuple[Key, Entry]]) -> None:
        """These could not be written: they are fresh again."""
        self._new += [key for key, _ in entries]

    def recovered(self, entries: Iterable[tuple[Key, Entry]]) -> None:
        """Take in what was written by an earlier owner."""
        for key, entry in entries:
            self._add(key, entry)
        self._new.clear()

    def postpone(self, keys: Iterable[Key], at: float) -> None:
        """These are stored again, and acknowledged at this time (infinity: not yet)."""
        for key in keys:
            if key in self._entries:
                self._entries[key] = replace(self._entries[key], at=at)
                self._entries.move_to_end(key)
                self._new.append(key)

    def _add(self, key: Key, entry: Entry) -> None:
        self._new.append(key)
        if key in self._entries:
            self._bytes -= self._entries.pop(key).nbytes
        self._entries[key] = entry
        self._bytes += entry.nbytes
        given_up = 0
        while self._bytes > self._limit and len(self._entries) > 1:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.nbytes
            given_up += 1
        if given_up:
            _log.warning("writes that may not be saved yet are no longer kept", count=given_up)
