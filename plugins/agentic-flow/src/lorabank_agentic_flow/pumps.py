"""Between a child's pipes and a session's streams: JSON-RPC, one message a line."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from lorabank.logs import get_logger
from lorabank_agentic_flow.aside import Aside, Cutter
from lorabank_agentic_flow.outgoing import GivenUpError, Outgoing
from lorabank_agentic_flow.sdk import SessionMessage, read_message, write_message

_log = get_logger("lorabank_agentic_flow.server")
_CHUNK = 1 << 16
GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)


async def pump_in(
    stdout: ByteReceiveStream,
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
    lost: anyio.Event,
    aside: Aside,
) -> None:
    """Lines of the server to the session. Goes on reading when nobody listens any more."""
    cutter = Cutter(aside)
    parts: list[bytes] = []
    listening = True
    try:
        while True:
            *lines, rest = cutter.feed(await stdout.receive(_CHUNK)).split(b"\n")
            for line in lines:
                message = b"".join([*parts, line])
                parts = []
                listening = listening and await _deliver(message, incoming)
            parts.append(rest)
    except GONE:
        pass
    finally:
        lost.set()
        incoming.close()


async def _deliver(
    line: bytes, incoming: MemoryObjectSendStream[SessionMessage | Exception]
) -> bool:
    try:
        message = read_message(line)
    except ValueError:
        _log.warning("the server wrote a line that is no message", line=line[:200])
        return True
    try:
        await incoming.send(message)
    except GONE:
        return False
    return True


async def pump_out(
    messages: MemoryObjectReceiveStream[SessionMessage],
    stdin: ByteSendStream,
    lost: anyio.Event,
    outgoing: Outgoing,
) -> None:
    """Messages of the session to the server."""
    try:
        async with messages:
            async for message in messages:
                with suppress(GivenUpError):
                    for piece in outgoing.filled(write_message(message)):
                        await stdin.send(piece)
    except GONE:
        lost.set()


async def pump_log(stderr: ByteReceiveStream, last_words: deque[str], silent: anyio.Event) -> None:
    """What the server says into the log: errors as warnings, the rest for debugging."""
    rest = b""
    try:
        while True:
            *lines, rest = (rest + await stderr.receive()).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    last_words.append(text)
                    level = _log.warning if text.startswith(("❌", "⚠")) else _log.debug
                    level("agentic-flow says", line=text[:500])
    except GONE:
        pass
    finally:
        silent.set()
