"""The journal on disk, so that what was acknowledged outlives this process and the server together.

Lines of JSON, appended before a write is acknowledged; the last word on a record counts. A line
that a kill cut short was never acknowledged, and is left out. The file survives killed processes;
it is not forced to the disk, so a power cut may take the last seconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lorabank.turns import unhurried
from lorabank_agentic_flow.client import Episode
from lorabank_agentic_flow.envelope import from_text
from lorabank_agentic_flow.journal import Entry, Removed, Stored
from lorabank_agentic_flow.records import Key

_SLACK = 1 << 20  # bytes that the file may have more than twice what is in it


class JournalFile:
    """Entries on disk. Blocking: for threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0

    def read(self) -> list[tuple[Key, Entry]]:
        """What an earlier owner left behind, oldest first. Raises OSError."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        self._size = len(data)
        return list(_entries(data.split(b"\n")))

    def append(self, entries: Iterable[tuple[Key, Entry]]) -> None:
        """Add entries. Raises OSError."""
        self._write(self._path, os.O_APPEND, entries)

    def outgrown(self, needed: int) -> bool:
        """Whether it is much larger than what it is needed for (bytes)."""
        return self._size > 2 * needed + _SLACK or (not needed and self._size > 0)

    def replace(self, entries: Iterable[tuple[Key, Entry]]) -> None:
        """Hold just these. Without any there is no file. Raises OSError."""
        held = list(entries)
        self._size = 0
        if not held:
            self._path.unlink(missing_ok=True)
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        self._write(fresh, os.O_TRUNC, held)
        fresh.replace(self._path)

    def _write(self, path: Path, flag: int, entries: Iterable[tuple[Key, Entry]]) -> None:
        data = b"".join(_line(key, entry) for key, entry in unhurried(entries))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "wb") as file:
            file.write(data)
        self._size += len(data)


def _line(key: Key, entry: Entry) -> bytes:
    fields: dict[str, Any] = {"at": entry.at}
    if isinstance(entry, Stored):
        fields["episode"] = asdict(entry.episode)
    else:
        fields |= {"removed": key, "revision": entry.revision}
    # The line end before it keeps it apart from a line that was cut short.
    return f"\n{json.dumps(fields)}\n".encode()


def _entries(lines: Iterable[bytes]) -> Iterator[tuple[Key, Entry]]:
    for line in unhurried(lines):
        try:
            found = _entry(json.loads(line))
        except (ValueError, TypeError, KeyError):
            continue
        if found is not None:
            yield found


def _entry(fields: Any) -> tuple[Key, Entry] | None:
    at = float(fields["at"])
    if "removed" in fields:
        return Key(*map(str, fields["removed"])), Removed(str(fields["revision"]), at)
    episode = Episode(**fields["episode"])
    record = from_text(episode.task)
    return None if record is None else (record.key, Stored(record.revision, at, episode))
