"""Long texts are set aside before the SDK reads the message that they are in.

The SDK decodes a message, validates it and formats it for its debug log, each in one go and in the
event loop: half a second for a listing of 5,000 episodes. So a string that is long is cut out of
the bytes as they arrive, and a short key takes its place. What was cut out is decoded later, in
pieces.
"""

from __future__ import annotations

import codecs
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

LONGEST = 1 << 15  # bytes of a string that the SDK may see
# The beginning of an escape that goes on, or the first half of a surrogate pair.
_UNFINISHED = re.compile(r"(?:\\u[dD][89abAB][0-9a-fA-F]{2})?(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z")
_UNFINISHED_LENGTH = 11
_BACKSLASH = ord("\\")


class Aside:
    """What was set aside on one connection, until it is taken.

    Args:
        life: seconds. The SDK hands an answer over at once; what has lain for longer was the
            answer to a call that was given up.
    """

    def __init__(self, life: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._life = life
        self._monotonic = monotonic
        self._prefix = f"lorabank-aside-{secrets.token_hex(16)}-"
        self._count = 0
        self._held: dict[str, tuple[float, list[bytes]]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def put(self, parts: list[bytes]) -> str:
        """Set the inside of a JSON string aside; its key."""
        now = self._monotonic()
        while self._held and now - next(iter(self._held.values()))[0] > self._life:
            del self._held[next(iter(self._held))]
        self._count += 1
        key = f"{self._prefix}{self._count}"
        self._held[key] = (now, parts)
        return key

    def take(self, text: str) -> list[bytes] | None:
        """What this key stands for, once; None if the text is no key."""
        held = self._held.pop(text, None)
        return None if held is None else held[1]


class Cutter:
    """Cuts long strings out of a stream of JSON messages, one a line (server-sent events, too)."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside
        self._within = False  # a string
        self._parts: list[bytes] = []  # of that string
        self._rest = b""  # a backslash that waits for what it escapes

    def feed(self, data: bytes) -> bytes:
        """What to pass on of the next bytes. A string that is not finished is held back."""
        data = self._rest + data
        self._rest = b""
        passed: list[bytes] = []
        place = 0
        while place < len(data):
            if self._within:
                place = self._read_string(data, place, passed)
            else:
                place = self._read_between(data, place, passed)
        return b"".join(passed)

    def finish(self) -> bytes:
        """What is left at the end."""
        left = b"".join([*self._parts, self._rest])
        self._parts, self._rest, self._within = [], b"", False
        return left

    def _read_between(self, data: bytes, place: int, passed: list[bytes]) -> int:
        quote = data.find(b'"', place)
        end = len(data) if quote < 0 else quote + 1
        passed.append(data[place:end])
        self._within = quote >= 0
        return end

    def _read_string(self, data: bytes, place: int, passed: list[bytes]) -> int:
        end = _string_end(data, place)
        line_end = data.find(b"\n", place, len(data) if end < 0 else end)
        if line_end >= 0:  # JSON has no line end within a string: this was none
            passed += [*self._parts, data[place : line_end + 1]]
            self._parts, self._within = [], False
            return line_end + 1
        if end < 0:
            kept = len(data) - _run_before(data, len(data), place) % 2
            self._rest = data[kept:]
            self._parts.append(data[place:kept])
            return len(data)
        self._parts.append(data[place:end])
        long = sum(map(len, self._parts)) > LONGEST
        passed += [self._aside.put(self._parts).encode()] if long else self._parts
        passed.append(b'"')
        self._parts, self._within = [], False
        return end + 1


def decoded(parts: Sequence[bytes]) -> Iterator[str]:
    """The text of what was set aside, piece by piece.

    Raises: ValueError if it is no JSON string.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest = ""
    for part in parts:
        rest += decoder.decode(part)
        cut = _finished(rest)
        yield json.loads(f'"{rest[:cut]}"')
        rest = rest[cut:]
    yield json.loads(f'"{rest}{decoder.decode(b"", final=True)}"')


def _finished(text: str) -> int:
    """How much of a JSON string's inside can be decoded without what follows."""
    place = max(0, len(text) - _UNFINISHED_LENGTH)
    while True:
        found = _UNFINISHED.search(text, place)
        assert found is not None  # nothing at the end is a match
        start = found.start()
        if start == len(text) or not _run_before(text, start) % 2:
            return start
        place = start + 1  # this backslash is itself escaped


def _string_end(data: bytes, place: int) -> int:
    """Where the string that goes on here is closed; -1 if it is not."""
    quote = data.find(b'"', place)
    while quote >= 0 and _run_before(data, quote, place) % 2:
        quote = data.find(b'"', quote + 1)
    return quote


def _run_before(text: bytes | str, end: int, start: int = 0) -> int:
    """How many backslashes there are just before ``end``."""
    backslash: object = "\\" if isinstance(text, str) else _BACKSLASH
    place = end
    while place > start and text[place - 1] == backslash:
        place -= 1
    return end - place
