"""How much may still be stored so that one reply can carry it all.

The server gives its episodes in one reply, and what is between it and us may not carry any:
mcp-proxy ends the server as soon as that answers with more than 10 MiB, and does not start it
again. A remote that has grown beyond that can't be read any more, so it must not grow that far.
"""

from __future__ import annotations

from typing import NamedTuple

_KEPT = 1 << 10  # bytes, for what is around the episodes
_MEBIBYTE = 1 << 20


class Mark(NamedTuple):
    """What had happened at a moment: bytes that were stored, and how often something went away."""

    stored: int
    removals: int


class Room:
    """An upper bound of the bytes of a reply with everything in it, kept below a limit.

    A reading shows the size itself. What is stored later adds to it; what goes away later counts
    until the next reading.

    Args:
        limit: bytes of the longest reply; None: there is no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.mark = Mark(0, 0)
        self._read = 0
        self._read_at = self.mark

    @property
    def nbytes(self) -> int:
        """The upper bound."""
        return self._read + self.mark.stored - self._read_at.stored

    @property
    def uncertain(self) -> bool:
        """Whether reading again may find more room."""
        return self.mark != self._read_at

    def read(self, nbytes: int, begun: Mark) -> None:
        """A reply of so many bytes, asked for at that moment: what came later may not be in it."""
        self._read, self._read_at = nbytes, begun

    def add(self, nbytes: int) -> None:
        """So much is stored."""
        self.mark = self.mark._replace(stored=self.mark.stored + nbytes)

    def take(self, nbytes: int) -> bool:
        """Whether so much fits besides; it counts as stored then."""
        if self.limit is not None and self.nbytes + nbytes + _KEPT > self.limit:
            return False
        self.add(nbytes)
        return True

    def removed(self) -> None:
        """Something went away."""
        self.mark = self.mark._replace(removals=self.mark.removals + 1)

    @property
    def refusal(self) -> str:
        """Why something does not fit, in words."""
        held, limit = self.nbytes / _MEBIBYTE, (self.limit or 0) / _MEBIBYTE
        return (
            f"the remote holds {held:.1f} MiB: with this it could not be read any more, as a reply "
            f"of more than {limit:g} MiB breaks the connection (option reply_mb)"
        )
