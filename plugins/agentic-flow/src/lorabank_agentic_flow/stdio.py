"""A server of our own: a child process, spoken to over its standard streams."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import Process

from lorabank.errors import BankUnavailableError, InvalidInputError
from lorabank.logs import get_logger
from lorabank_agentic_flow.aside import Aside
from lorabank_agentic_flow.database import journal_path, prepare_database
from lorabank_agentic_flow.outgoing import Outgoing
from lorabank_agentic_flow.pumps import GONE, pump_in, pump_log, pump_out
from lorabank_agentic_flow.sdk import SessionMessage
from lorabank_agentic_flow.transport import Streams

_log = get_logger("lorabank_agentic_flow.server")
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_LAST_WORDS_TIME = 2.0
_STOP_TIME = 30.0  # seconds; the supervisor kills the server before that
_INHERITED = ("HOME", "LANG", "LOGNAME", "PATH", "TMPDIR", "USER")


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

    @property
    def longest_reply(self) -> int | None:
        """See `Transport.longest_reply`: we read the server's output ourselves, whatever comes."""
        return None

    @property
    def journal(self) -> Path:
        """See `Transport.journal`: beside the database."""
        return journal_path(self.database)

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
        write, messages = anyio.create_memory_object_stream[SessionMessage](0)
        lost, silent, aside, outgoing = anyio.Event(), anyio.Event(), Aside(), Outgoing()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        async with anyio.create_task_group() as group:
            group.start_soon(pump_in, process.stdout, incoming, lost, aside)
            group.start_soon(pump_out, messages, process.stdin, lost, outgoing)
            group.start_soon(pump_log, process.stderr, last_words, silent)
            try:
                yield Streams(read, write, lost, aside, outgoing)
            except Exception as exc:
                if not lost.is_set():
                    raise
                with anyio.move_on_after(_LAST_WORDS_TIME):
                    await silent.wait()
                    await process.wait()
                raise BankUnavailableError(_obituary(process, last_words)) from exc
            finally:
                with anyio.CancelScope(shield=True):
                    read.close()
                    write.close()
                    await _stop(process)
                group.cancel_scope.cancel()

    async def _start(self) -> Process:
        files = [str(self.database), str(self.journal)]
        command = [sys.executable, "-I", str(_SUPERVISOR), *files, self.node]
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


async def _stop(process: Process) -> None:
    """End of input: the supervisor stops the server, which saves."""
    stdin: Any = process.stdin
    with suppress(*GONE):
        await stdin.aclose()
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
