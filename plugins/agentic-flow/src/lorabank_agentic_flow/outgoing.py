"""Long texts are put into a message after the SDK has encoded it.

The SDK encodes a message, and formats it for its debug log, each in one go and in the event loop:
a quarter of a second for a record near the limit of a request. So a short key takes the text's
place, and what it stands for, encoded in pieces in a thread, is sent when its turn comes.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from lorabank.turns import unhurried
from lorabank_agentic_flow.threads import in_thread

LONGEST = 1 << 15  # characters of a text that the SDK may encode
_PIECE = 1 << 16


class GivenUpError(Exception):
    """Nobody waits for the answer to a message any more."""


class Outgoing:
    """The long texts of the calls that are under way on one connection."""

    def __init__(self) -> None:
        prefix = f"lorabank-outgoing-{secrets.token_hex(16)}-"
        self._prefix = prefix
        self._key = re.compile(rb"%b\d+-" % prefix.encode())
        self._count = 0
        self._held: dict[bytes, list[bytes]] = {}

    async def cut(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with keys in place of long texts. Hand them to `forget` in the end.

        Raises: UnicodeEncodeError if a text can't be written.
        """
        short = dict(arguments)
        for name, value in arguments.items():
            if isinstance(value, str) and len(value) > LONGEST:
                pieces = await in_thread(_encoded, value)
                self._count += 1
                short[name] = f"{self._prefix}{self._count}-"
                self._held[short[name].encode()] = pieces
        return short

    def forget(self, arguments: dict[str, Any]) -> None:
        """The call with these arguments, as `cut` gave them, is over."""
        for value in arguments.values():
            if isinstance(value, str):
                self._held.pop(value.encode("utf-8", "replace"), None)

    def filled(self, message: bytes) -> list[bytes]:
        """An encoded message with the texts in it, in pieces.

        Raises: GivenUpError if the call that it makes is over. It must not be sent.
        """
        parts: list[bytes] = []
        place = 0
        for found in self._key.finditer(message):
            pieces = self._held.get(found[0])
            if pieces is None:
                raise GivenUpError("a call that was given up")
            parts += [message[place : found.start()], *pieces]
            place = found.end()
        return [*parts, message[place:]]


def _encoded(text: str) -> list[bytes]:
    """The inside of a JSON string."""
    pieces = (text[place : place + _PIECE] for place in range(0, len(text), _PIECE))
    return [json.dumps(piece, ensure_ascii=False)[1:-1].encode() for piece in unhurried(pieces)]
