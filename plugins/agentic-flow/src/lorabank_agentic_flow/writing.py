"""Writing records: new version first, old one after; undone or put back when things go wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel

from lorabank.errors import BankError, BankRejectedError
from lorabank.logs import get_logger
from lorabank.turns import unhurried
from lorabank_agentic_flow.client import Client, Episode
from lorabank_agentic_flow.envelope import from_text
from lorabank_agentic_flow.journal import Journal, Stored
from lorabank_agentic_flow.keeping import Keeping
from lorabank_agentic_flow.mirror import Mirror
from lorabank_agentic_flow.planning import BATCH_ROWS, as_episodes, plan
from lorabank_agentic_flow.records import Key, Record, session_of
from lorabank_agentic_flow.room import Room
from lorabank_agentic_flow.threads import in_thread

_log = get_logger("lorabank_agentic_flow.writing")
_PARALLEL = 16
_BLOCK = 128
_FEW = 32  # versions that are removed one by one
_SWEPT = 500  # outdated versions removed along with a write


class Writer:
    """Puts records into the remote, and takes them out. Each method must run to its end."""

    def __init__(
        self, client: Client, mirror: Mirror, journal: Journal, keeping: Keeping, room: Room
    ) -> None:
        self._client = client
        self._mirror = mirror
        self._journal = journal
        self._keeping = keeping
        self._room = room
        self._measuring = anyio.Lock()
        self._outdated: set[str] = set()  # revisions that are to be removed remotely

    async def put(self, records: Sequence[Record]) -> None:
        """Store all or none.

        Raises BankRejectedError before sending if one is too large, or the remote would be.
        """
        episodes = await in_thread(as_episodes, records)
        await self._make_room(episodes)
        self._mirror.writing(+1)
        try:
            await self._send(self._client, episodes)
        except BankError:
            # It may have arrived all the same: it goes as soon as the server can be reached.
            self._outdated.update(record.revision for record in records)
            raise
        else:
            for start in range(0, len(records), _BLOCK):
                self._outdated.update(self._mirror.put(records[start : start + _BLOCK]))
                await anyio.lowlevel.checkpoint()
            now = time.time()
            for record, episode in zip(records, episodes, strict=True):
                self._journal.stored(record.key, Stored(record.revision, now, episode))
            await self._keeping.save()
            await self.sweep(self._client)
        finally:
            self._mirror.writing(-1)

    async def _make_room(self, episodes: Sequence[Episode]) -> None:
        """See to it that the remote can still be read once it has these."""
        room = self._room
        if room.limit is None:
            return
        size = await in_thread(_size_of, episodes)
        if room.take(size):
            return
        async with self._measuring:
            if room.uncertain:
                await self._mirror.reload(self._client)
            if not room.take(size):
                raise BankRejectedError(room.refusal)

    async def remove(self, versions: Sequence[tuple[Key, str]]) -> None:
        """Remove these versions. After a fault some may be left: remove them again."""
        self._mirror.writing(+1)
        try:
            if len(versions) > _FEW:
                await self._remove_many(versions)
            else:
                await together([self._removal(key, revision) for key, revision in versions])
            await self._keeping.save()
        finally:
            self._mirror.writing(-1)

    async def sweep(self, client: Client) -> None:
        """Remove versions that no longer count, as far as that works now."""
        chosen = [self._outdated.pop() for _ in range(min(_SWEPT, len(self._outdated)))]
        try:
            if len(chosen) > _FEW:
                self._mirror.removed(await client.delete_revisions(chosen))
            else:
                await together([self._sweeping(client, revision) for revision in chosen])
        except BankError as exc:
            _log.warning("old versions are left for later", error=str(exc))
            self._outdated.update(chosen)  # removing one again does no harm

    async def restore(self, client: Client) -> None:
        """After a reconnect: read again what is there, and put back what was lost."""
        if not len(self._journal):
            self._mirror.forget()
            return
        snapshot = await self._mirror.reload(client)
        self._outdated.update(snapshot.outdated)
        lost: list[Episode] = []
        returned: list[tuple[Key, str]] = []
        for key, entry in self._journal.entries():
            held = snapshot.view.revision(key)
            if isinstance(entry, Stored):
                if held is None or held < entry.revision:
                    lost.append(entry.episode)
            elif held is not None and held <= entry.revision:
                returned.append((key, held))
        if lost or returned:
            _log.warning("the server lost writes", stored_again=len(lost), removed=len(returned))
        records = await in_thread(_records_of, lost)
        again = [record.key for record in records] + [key for key, _ in returned]
        self._journal.postpone(again, math.inf)
        self._room.add(await in_thread(_size_of, lost))  # it fitted before
        await self._send(client, lost)
        self._outdated.update(self._mirror.put(records))
        for key, revision in returned:
            self._mirror.drop([(key, revision)], await client.delete(session_of(revision)))
        self._journal.postpone(again, time.time())
        await self._keeping.save()
        await self.sweep(client)

    def _sweeping(self, client: Client, revision: str) -> Callable[[], Awaitable[None]]:
        async def remove() -> None:
            self._mirror.removed(await client.delete(session_of(revision)))

        return remove

    def _removal(self, key: Key, revision: str) -> Callable[[], Awaitable[None]]:
        async def remove() -> None:
            rows = await self._client.delete(session_of(revision))
            self._mirror.drop([(key, revision)], rows)
            self._journal.removed([(key, revision)], time.time())

        return remove

    async def _remove_many(self, versions: Sequence[tuple[Key, str]]) -> None:
        """By row, many in one call. Rows are looked up just before, and within one session: a
        server that was restarted may have given them to other episodes."""
        for start in range(0, len(versions), BATCH_ROWS):
            part = versions[start : start + BATCH_ROWS]
            rows = await self._client.delete_revisions({revision for _, revision in part})
            self._mirror.drop(part, rows)
            self._journal.removed(part, time.time())
            await anyio.lowlevel.checkpoint()

    async def _send(self, client: Client, episodes: Sequence[Episode]) -> None:
        batches, singles = await in_thread(plan, episodes)
        calls: list[Callable[[], Awaitable[None]]] = []
        calls += [_call(client.store_batch, batch) for batch in batches]
        calls += [_call(client.store, episode) for episode in singles]
        await together(calls)


def _size_of(episodes: Sequence[Episode]) -> int:
    return sum(episode.size for episode in unhurried(episodes))


def _records_of(episodes: Sequence[Episode]) -> list[Record]:
    found = (from_text(episode.task) for episode in unhurried(episodes))
    return [record for record in found if record is not None]


async def together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Do all, several at a time. After a fault no more are begun, and it is raised."""
    faults: list[BankError] = []
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            try:
                await call()
            except BankError as exc:
                faults.append(exc)
            if faults:
                return

    async with anyio.create_task_group() as group:
        for _ in range(min(_PARALLEL, len(calls))):
            group.start_soon(work)
    if faults:
        raise faults[0]


def _call(
    function: Callable[..., Awaitable[None]], argument: object
) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        await function(argument)

    return call
