"""Keeps on disk what the server acknowledged and may still forget, before we acknowledge it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio

from lorabank.errors import BankUnavailableError
from lorabank_agentic_flow.journal import Journal
from lorabank_agentic_flow.journal_file import JournalFile
from lorabank_agentic_flow.threads import in_thread
from lorabank_agentic_flow.transport import Transport

T = TypeVar("T")


class Keeping:
    """A journal and, where the server is our own, its file.

    The file is only touched by whoever owns the database.
    """

    def __init__(self, journal: Journal, transport: Transport) -> None:
        self._journal = journal
        self._transport = transport
        self._file = None if transport.journal is None else JournalFile(transport.journal)
        self._turn = anyio.Lock()

    async def recover(self) -> None:
        """Take in what an earlier owner left. Raises BankUnavailableError."""
        if self._file is not None:
            self._journal.recovered(await self._safely(self._file.read))
            await self.save()

    async def save(self) -> None:
        """Write what is new, unless the server has saved it by now. Raises BankUnavailableError."""
        self._journal.release(await self._transport.saved_until())
        file, journal = self._file, self._journal
        if file is None:
            return
        async with self._turn:
            entries = journal.fresh()
            try:
                if file.outgrown(journal.nbytes):
                    entries = journal.entries()
                    await self._safely(lambda: file.replace(entries))
                elif entries:
                    await self._safely(lambda: file.append(entries))
            except BaseException:
                journal.unwritten(entries)
                raise

    async def _safely(self, work: Callable[[], T]) -> T:
        try:
            return await in_thread(work)
        except OSError as exc:
            raise BankUnavailableError(f"{self._transport.journal} can't be used: {exc}") from exc
