"""The view that reads are answered from: loaded when needed, kept up to date, bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TypeVar

from lorabank.logs import get_logger
from lorabank.protocols import Embedder
from lorabank_agentic_flow.client import Client
from lorabank_agentic_flow.loading import Snapshot, load
from lorabank_agentic_flow.operations import Operations, Work
from lorabank_agentic_flow.records import Key, Record
from lorabank_agentic_flow.replies import Counts
from lorabank_agentic_flow.room import Room
from lorabank_agentic_flow.settings import Settings
from lorabank_agentic_flow.view import View

_log = get_logger("lorabank_agentic_flow.mirror")
T = TypeVar("T")


class Mirror:
    """Keeps at most one `View`.

    A server of our own is read once. Where others may write, the tables' counts are compared
    before reads, and the view is loaded again when they show changes that are not ours, or when
    it is old.
    """

    def __init__(
        self,
        client: Client,
        operations: Operations,
        settings: Settings,
        embedder: Embedder | None,
        exclusive: bool,
        room: Room,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._operations = operations
        self._settings = settings
        self._embedder = embedder
        self._exclusive = exclusive
        self._room = room
        self._monotonic = monotonic
        self._view: View | None = None
        self._loads = 0  # under way
        self._shared: Work[Snapshot] | None = None  # the load that reads wait for
        self._shared_since = float("-inf")
        self._missed: list[Callable[[View], object]] = []  # changes during a load
        self._missed_rows: list[int] = []  # by which they change the count of episodes
        self._writes = 0  # under way
        self._changes = 0
        self._expected: Counts | None = None
        self._loaded_at = self._checked_at = float("-inf")
        self._last = View()  # what is known of the space when there is no view

    @property
    def last(self) -> View:
        """The view, or the last one that there was."""
        return self._last

    async def current(self) -> View:
        """An up-to-date view. Reads share one load. Raises what the client raises."""
        asked = self._monotonic()
        while True:
            view = self._view
            if view is not None and not await self._is_outdated():
                return view
            if self._shared is None:
                self._shared_since = self._monotonic()
                self._shared = self._operations.start(self._load)
            since = self._shared_since
            snapshot = await self._shared.outcome()
            # What others wrote before we were asked may have come too late for an earlier load.
            if self._exclusive or since >= asked - self._settings.refresh:
                return snapshot.view

    async def _load(self) -> Snapshot:
        try:
            return await self.reload(self._client)
        finally:
            self._shared = None

    async def reload(self, client: Client) -> Snapshot:
        """Read the remote again, and make that the view unless it is too large to keep."""
        self._loads += 1
        begun, counted = self._room.mark, 0

        async def counts() -> Counts:
            nonlocal counted
            found = await client.counts()
            counted = len(self._missed_rows)
            return found

        try:
            snapshot = await load(client, counts, self._settings.foreign, self._embedder)
            for change in self._missed:
                change(snapshot.view)
            # What we stored after the rows were counted is not a change of somebody else's.
            expected = reduce(Counts.after, self._missed_rows[counted:], snapshot.counts)
        finally:
            self._loads -= 1
            if not self._loads:
                self._missed.clear()
                self._missed_rows.clear()
        self._loaded_at = self._checked_at = self._monotonic()
        self._expected = expected
        self._room.read(snapshot.nbytes, begun)
        self._last = snapshot.view
        self._keep(snapshot.view)
        return snapshot

    def forget(self) -> None:
        """The server may have lost something: the next read loads again."""
        self._view = None

    def writing(self, under_way: int) -> None:
        """A write of ours begins (+1) or ends (-1): until then counts can't be told apart."""
        self._writes += under_way

    def put(self, records: Iterable[Record]) -> list[str]:
        """Acknowledged versions; the revisions that they replace."""
        taken = list(records)
        self._count(len(taken))
        return self._apply(lambda view: view.put(taken)) or []

    def drop(self, versions: Iterable[tuple[Key, str]], rows: int) -> None:
        """Removed versions; ``rows`` went away remotely."""
        gone = list(versions)
        self._count(-rows)
        self._apply(lambda view: view.drop(gone))

    def removed(self, rows: int) -> None:
        """Rows of outdated versions went away remotely."""
        self._count(-rows)

    def _apply(self, change: Callable[[View], T]) -> T | None:
        if self._loads:
            self._missed.append(change)
        result = None if self._view is None else change(self._view)
        if self._last is not self._view:
            change(self._last)
        return result

    def _count(self, rows: int) -> None:
        self._changes += 1
        if rows < 0:
            self._room.removed()
        if self._loads:
            self._missed_rows.append(rows)
        if self._expected is not None:
            self._expected = self._expected.after(rows)

    def _keep(self, view: View) -> None:
        size, limit = view.nbytes, self._settings.cache_bytes
        self._view = view if size <= limit else None
        if self._view is None:
            _log.warning("the remote is larger than the cache: every read reads it", bytes=size)

    async def _is_outdated(self) -> bool:
        now = self._monotonic()
        if self._exclusive or self._writes or now - self._checked_at < self._settings.refresh:
            return False
        if now - self._loaded_at >= self._settings.max_age:
            return True
        changes = self._changes
        found = await self._client.counts()
        if self._writes or changes != self._changes or self._expected is None:
            return False
        self._checked_at = now
        same = self._expected.embeddings in (-1, found.embeddings)
        if self._expected.episodes != found.episodes or not same:
            return True
        self._expected = found
        return False
