"""A server of our own: a child process, spoken to over its standard streams."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from lorabank.errors import BankUnavailableError, InvalidInputError
from lorabank.logs import get_logger
from lorabank_agentic_flow.database import prepare_database
from lorabank_agentic_flow.sdk import SessionMessage, read_message, write_message
from lorabank_agentic_flow.transport import Streams

_log = get_logger("lorabank_agentic_flow.server")
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_STOP_TIME = 30.0  # seconds; the supervisor kills the server before that
_INHERITED = ("HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "USER")
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)


@dataclass(frozen=True)
class StdioTransport:
    """Starts agentdb's server on a database file, and stops it.

    Attributes:
        database: created with the server's schema if it is not there.
        server: path of ``agentdb-mcp-server.js``.
        node: the Node.js program.
    """

    database: Path
    server: Path
    node: str = "node"

    @property
    def exclusive(self) -> bool:
        """See `Transport.exclusive`: the supervisor holds a lock on the database."""
        return True

    async def saved_until(self) -> float:
        """See `Transport.saved_until`.

        A write-ahead log shows better-sqlite3, which writes at once. sql.js replaces the whole
        file now and then.
        """
        return await anyio.to_thread.run_sync(_saved_until, self.database)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Streams]:
        """See `Transport.connect`. Leaving stops the server with SIGTERM, so that it saves."""
        await anyio.to_thread.run_sync(prepare_database, self.database, self.server)
        process = await self._start()
        last_words: deque[str] = deque(maxlen=5)
        incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        lost = anyio.Event()
        assert process.stdin and process.stdout and process.stderr
        async with anyio.create_task_group() as group:
            group.start_soon(_pump_in, process.stdout, incoming, lost)
            group.start_soon(_pump_out, outgoing, process.stdin, lost)
            group.start_soon(_pump_log, process.stderr, last_words)
            try:
                yield Streams(read, write, lost)
            except Exception as exc:
                if process.returncode is None:
                    raise
                raise BankUnavailableError(_obituary(process, last_words)) from exc
            finally:
                with anyio.CancelScope(shield=True):
                    read.close()
                    write.close()
                    await _stop(process)
                group.cancel_scope.cancel()

    async def _start(self) -> Process:
        command = [sys.executable, "-I", str(_SUPERVISOR), str(self.database), self.node]
        try:
            return await anyio.open_process(
                [*command, str(self.server)],
                stdin=subprocess.PIPE,
                env=self._environment(),
                start_new_session=True,
            )
        except OSError as exc:
            raise InvalidInputError("python", sys.executable, "a program that starts") from exc

    def _environment(self) -> dict[str, str]:
        own = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own |= {name: value for name, value in os.environ.items() if name.startswith("AGENTDB_")}
        # Our vectors are in the envelopes; loading a text model for the server's own costs seconds.
        own.setdefault("AGENTDB_DISABLE_TRANSFORMERS", "1")
        return own | {"AGENTDB_PATH": str(self.database)}


async def _pump_in(
    stdout: ByteReceiveStream,
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
    lost: anyio.Event,
) -> None:
    """Lines of the server to the session. Goes on reading when nobody listens any more."""
    parts: list[bytes] = []
    listening = True
    try:
        while True:
            *lines, rest = (await stdout.receive(1 << 18)).split(b"\n")
            for line in lines:
                message = b"".join([*parts, line])
                parts = []
                listening = listening and await _deliver(message, incoming)
            parts.append(rest)
    except _GONE:
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
    except _GONE:
        return False
    return True


async def _pump_out(
    outgoing: MemoryObjectReceiveStream[SessionMessage], stdin: ByteSendStream, lost: anyio.Event
) -> None:
    try:
        async with outgoing:
            async for message in outgoing:
                await stdin.send(write_message(message))
    except _GONE:
        lost.set()


async def _pump_log(stderr: ByteReceiveStream, last_words: deque[str]) -> None:
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
    except _GONE:
        pass


async def _stop(process: Process) -> None:
    """End of input: the supervisor stops the server, which saves."""
    stdin: Any = process.stdin
    try:
        await stdin.aclose()
    except _GONE:
        pass
    with anyio.move_on_after(_STOP_TIME) as waiting:
        await process.wait()
    if waiting.cancelled_caught:
        _log.error("the server did not stop in time and was killed", seconds=_STOP_TIME)
        process.kill()
        await process.wait()


def _obituary(process: Process, last_words: deque[str]) -> str:
    words = last_words[-1] if last_words else "it said nothing"
    return f"the server ended with code {process.returncode}: {words}"


def _saved_until(database: Path) -> float:
    log = Path(f"{database}-wal")
    try:
        if log.is_file() and log.stat().st_size:
            return time.time()
        return database.stat().st_mtime
    except OSError:
        return 0.0
