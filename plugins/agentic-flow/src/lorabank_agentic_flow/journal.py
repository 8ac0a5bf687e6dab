"""What the server acknowledged but may still forget.

sql.js keeps writes in memory until it saves, every five minutes or when it is stopped. Until a
write is known to be saved it stays here, and is put back if the server turns out to have lost it.

That may be thousands of writes, so they are kept as plain tuples of text and numbers, which
Python's collector of cycles does not walk: it stops every thread for as long as it takes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, TypeAlias

from lorabank.logs import get_logger
from lorabank_agentic_flow.client import Episode
from lorabank_agentic_flow.records import Key

_log = get_logger("lorabank_agentic_flow.journal")
_ENTRY_BYTES = 512


@dataclass(frozen=True, slots=True)
class Stored:
    """A version that must be there, as the row that holds it. ``at``: unix seconds."""

    revision: str
    at: float
    episode: Episode


@dataclass(frozen=True, slots=True)
class Removed:
    """A version (and all before it) that must not be there."""

    revision: str
    at: float


Entry: TypeAlias = Stored | Removed
# What is kept: a `Key` as a tuple; revision, time, bytes (roughly), and the fields of an `Episode`.
_Name: TypeAlias = tuple[str, str, str]
_Kept: TypeAlias = tuple[str, float, int, tuple[Any, ...] | None]


class Journal:
    """The last word on each record that is not known to be saved, oldest first.

    Args:
        limit: bytes; beyond it the oldest entries are given up, which is logged.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[_Name, _Kept] = OrderedDict()
        self._bytes = 0
        self._new: list[_Name] = []  # since `fresh` was asked

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def full(self) -> bool:
        """Whether it is more than half full: time to have the server save."""
        return 2 * self._bytes > self._limit

    def stored(self, key: Key, entry: Stored) -> None:
        """A version was acknowledged."""
        held = self._kept.get(_name(key))
        if held is None or held[3] is None or entry.revision > held[0]:
            self._add(key, entry)

    def removed(self, versions: Iterable[tuple[Key, str]], at: float) -> None:
        """These versions were removed."""
        for key, revision in versions:
            held = self._kept.get(_name(key))
            if held is None or held[3] is None or held[0] <= revision:
                self._add(key, Removed(revision, at))

    def release(self, saved_until: float) -> None:
        """Forget what was acknowledged before this time."""
        while self._kept:
            name = next(iter(self._kept))
            _, at, size, _ = self._kept[name]
            if at >= saved_until:
                break
            self._bytes -= size
            del self._kept[name]

    @property
    def nbytes(self) -> int:
        """Roughly what it holds."""
        return self._bytes

    def entries(self) -> list[tuple[Key, Entry]]:
        """All of them, oldest first."""
        return [(Key(*name), _entry(kept)) for name, kept in self._kept.items()]

    def fresh(self) -> list[tuple[Key, Entry]]:
        """Those added since this was last asked, and not released."""
        new, self._new = dict.fromkeys(self._new), []
        return [(Key(*name), _entry(self._kept[name])) for name in new if name in self._kept]

    def unwritten(self, entries: Iterable[tuple[Key, Entry]]) -> None:
        """These could not be written: they are fresh again."""
        self._new += [_name(key) for key, _ in entries]

    def recovered(self, entries: Iterable[tuple[Key, Entry]]) -> None:
        """Take in what was written by an earlier owner."""
        for key, entry in entries:
            self._add(key, entry)
        self._new.clear()

    def postpone(self, keys: Iterable[Key], at: float) -> None:
        """These are stored again, and acknowledged at this time (infinity: not yet)."""
        for name in map(_name, keys):
            if name in self._kept:
                revision, _, size, row = self._kept[name]
                self._kept[name] = (revision, at, size, row)
                self._kept.move_to_end(name)
                self._new.append(name)

    def _add(self, key: Key, entry: Entry) -> None:
        name, kept = _name(key), _plain(entry)
        self._new.append(name)
        if name in self._kept:
            self._bytes -= self._kept.pop(name)[2]
        self._kept[name] = kept
        self._bytes += kept[2]
        given_up = 0
        while self._bytes > self._limit and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest[2]
            given_up += 1
        if given_up:
            _log.warning("writes that may not be saved yet are no longer kept", count=given_up)


def _name(key: Key) -> _Name:
    # The collector goes on walking a named tuple, whatever is in it.
    return key.kind, key.namespace, key.id


def _plain(entry: Entry) -> _Kept:
    if isinstance(entry, Removed):
        return entry.revision, entry.at, _ENTRY_BYTES, None
    size = len(entry.episode.task) + _ENTRY_BYTES
    return entry.revision, entry.at, size, astuple(entry.episode)


def _entry(kept: _Kept) -> Entry:
    revision, at, _, row = kept
    return Removed(revision, at) if row is None else Stored(revision, at, Episode(*row))
