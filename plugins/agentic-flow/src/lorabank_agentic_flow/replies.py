"""What the server's replies, which are text for people, mean. Pure functions.

Text that is not known here becomes a typed error with its first line, never a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lorabank.errors import BankRejectedError, BankUnavailableError
from lorabank_agentic_flow.aside import decoded

# Faults that pass: another writer, or a server about to end.
_PASSING = re.compile(r"database is locked|SQLITE_BUSY|not open|concurrent", re.IGNORECASE)
_STORED = re.compile(r"✅ Stored episode #(\d+)\n")
_STORED_MANY = re.compile(r"✅ Stored (\d+) episodes in ")
_DELETED = re.compile(r"✅ Delete operation completed!\n📊 Deleted: (\d+) vector\(s\)\n")
_BATCH_DELETED = re.compile(r"🗑️ +Batch delete from `episodes`: (\d+)/\d+ rows removed")
_CREATED = re.compile(r"✅ Created skill #\d+: ")
_COUNTS = re.compile(
    r"📊 Database Statistics:\n(?:.*\n)*?"
    r"Episodes \(Vectors\): (\d+)\nEpisode Embeddings: (\d+)\nSkills: (\d+)\s*\Z"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of the remote's tables."""

    episodes: int
    embeddings: int  # -1: not known
    skills: int

    def after(self, rows: int) -> Counts:
        """When so many episodes more (or less) are there."""
        # Whether embeddings go with their episodes depends on the storage.
        known = self.embeddings >= 0 and rows >= 0
        return Counts(self.episodes + rows, self.embeddings + rows if known else -1, self.skills)


class Reply:
    """The text of a tool's reply.

    Args:
        parts: texts, and what was set aside of long ones.
    """

    def __init__(self, parts: Sequence[str | list[bytes]]) -> None:
        self._parts = parts

    @property
    def long(self) -> bool:
        """Whether decoding it takes long enough to do it in a thread."""
        return not all(isinstance(part, str) for part in self._parts)

    @property
    def nbytes(self) -> int:
        """Bytes that it took in the server's message."""
        short = (part for part in self._parts if isinstance(part, str))
        pieces = (piece for part in self._parts if not isinstance(part, str) for piece in part)
        return sum(len(json.dumps(part)) for part in short) + sum(map(len, pieces))

    def pieces(self) -> Iterator[str]:
        """The text in pieces, each decoded when it is its turn.

        Raises: BankUnavailableError if it can't be decoded.
        """
        for part in self._parts:
            try:
                yield from [part] if isinstance(part, str) else decoded(part)
            except ValueError as exc:
                raise BankUnavailableError(f"a reply that can't be decoded: {exc}") from exc

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces())


def checked(tool: str, failed: bool, reply: Reply) -> Reply:
    """The reply, if it does not say that it failed.

    Raises: BankUnavailableError or BankRejectedError with its first line.
    """
    text = next(reply.pieces(), "")
    if not failed and not text.startswith("❌"):
        return reply
    kind = BankUnavailableError if _PASSING.search(text) else BankRejectedError
    raise kind(f"{tool}: {first_line(text)}")


def stored_row(text: str) -> int:
    """The row of a stored episode."""
    return int(_known("reflexion_store", _STORED.match(text), text)[1])


def stored_rows(text: str) -> int:
    """How many episodes a batch stored."""
    return int(_known("reflexion_store_batch", _STORED_MANY.match(text), text)[1])


def deleted_rows(text: str) -> int:
    """How many rows were deleted; zero is a success in the server's eyes."""
    return int(_known("agentdb_delete", _DELETED.match(text), text)[1])


def batch_deleted_rows(text: str) -> int:
    """How many rows a batch deleted."""
    return int(_known("agentdb_delete_batch", _BATCH_DELETED.match(text), text)[1])


def skill_created(text: str) -> None:
    """Whether the reply says so."""
    _known("skill_create", _CREATED.match(text), text)


def counts(text: str) -> Counts:
    """Rows of the remote's tables."""
    found = _known("db_stats", _COUNTS.match(text), text)
    return Counts(int(found[1]), int(found[2]), int(found[3]))


def unknown(tool: str, text: str) -> BankRejectedError:
    """The error for a reply that is not known here."""
    return BankRejectedError(f"{tool}: a reply that is not known here: {first_line(text)}")


def first_line(text: str) -> str:
    """At most 200 characters, without what could disturb a log."""
    line = text.strip().split("\n", 1)[0][:200]
    return "".join(char if char.isprintable() else "?" for char in line) or "(nothing)"


def _known(tool: str, found: re.Match[str] | None, text: str) -> re.Match[str]:
    if found is None:
        raise unknown(tool, text)
    return found
