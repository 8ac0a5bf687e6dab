"""What a transport gives: the two streams of one MCP session, and word of its end."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import anyio

from lorabank_agentic_flow.aside import Aside
from lorabank_agentic_flow.outgoing import Outgoing


class Streams(NamedTuple):
    """One connection to a server.

    ``read`` and ``write`` are what `ClientSession` takes; ``lost`` is set when the server is gone;
    ``aside`` holds the long texts of the messages that were read, ``outgoing`` those to be written.
    """

    read: Any
    write: Any
    lost: anyio.Event
    aside: Aside
    outgoing: Outgoing


class Transport(Protocol):
    """How a server is reached. Each `connect` is a new connection."""

    @property
    def exclusive(self) -> bool:
        """Whether nobody else writes to this server while we use it."""
        ...

    @property
    def longest_reply(self) -> int | None:
        """Bytes of a reply that the connection can carry; None: any."""
        ...

    def connect(self) -> AbstractAsyncContextManager[Streams]:
        """Connect, and disconnect at the end of the block.

        Raises: BankUnavailableError if trying again may work; any other LorabankError if not.
        """
        ...

    @property
    def journal(self) -> Path | None:
        """Where to keep on disk what the server may still forget; None: in memory only."""
        ...

    async def saved_until(self) -> float:
        """What the server acknowledged before this time (unix seconds) survives its crash."""
        ...
