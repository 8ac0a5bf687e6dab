"""`AgenticFlowStore`: a `PatternStore` on agentdb's episodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import anyio
import anyio.lowlevel

from lorabank.errors import (
    BankClosedError,
    BankError,
    CapabilityError,
    EmbeddingSpaceError,
    InvalidInputError,
)
from lorabank.logs import get_logger
from lorabank.protocols import Capability, Embedder, StoreStats
from lorabank.turns import in_worker
from lorabank.types.arrays import FloatArray, as_vector, unit_vector
from lorabank.types.checks import check_count
from lorabank.types.pattern import Match, Pattern
from lorabank.types.query import PatternFilter
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank_agentic_flow.client import Client, FreshReads
from lorabank_agentic_flow.connection import Connection
from lorabank_agentic_flow.journal import Journal
from lorabank_agentic_flow.keeping import Keeping
from lorabank_agentic_flow.library import Library
from lorabank_agentic_flow.mirror import Mirror
from lorabank_agentic_flow.operations import Operations
from lorabank_agentic_flow.records import PATTERN, SKILL, Key, Record, Revisions
from lorabank_agentic_flow.room import Room
from lorabank_agentic_flow.session import Caller
from lorabank_agentic_flow.settings import Settings
from lorabank_agentic_flow.transport import Transport
from lorabank_agentic_flow.writing import Writer
from lorabank_memory.search import nearest

_log = get_logger("lorabank_agentic_flow.store")
_INLINE_NUMBERS = 1 << 20  # searching so many takes about a millisecond; more goes to a thread
_INLINE_ROWS = 1 << 14
_SCAN_BLOCK = 512
_CLOSE_TIME = 10.0


class AgenticFlowStore:
    """Patterns and skills in agentdb, through its MCP server.

    Made by `lorabank_agentic_flow.open_store`, which runs the connection's task.
    """

    def __init__(
        self,
        transport: Transport,
        connection: Connection,
        operations: Operations,
        settings: Settings,
        embedder: Embedder | None,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._operations = operations
        client = Client(connection, FreshReads())
        self._client = client
        room = Room(transport.longest_reply)
        self._mirror = Mirror(client, operations, settings, embedder, transport.exclusive, room)
        self._journal = Journal(settings.journal_bytes)
        self._keeping = Keeping(self._journal, transport)
        self._writer = Writer(client, self._mirror, self._journal, self._keeping, room)
        self._library = Library(client)
        self._revisions = Revisions()
        self._limiter = anyio.CapacityLimiter(2)
        self._closed = False
        connection.restore = self._restore

    async def start(self) -> None:
        """Read the remote for the first time, and put back what an earlier owner's server lost."""
        await self._keeping.recover()
        if len(self._journal):
            await self._operations.run(self._writer.restore, self._client)
        await self._mirror.current()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Durable, and everything can be deleted. Sharing is possible over HTTP, but others' writes
        are seen a little later."""
        return frozenset({Capability.DURABLE, Capability.DELETE, Capability.DELETE_SKILL})

    @property
    def space(self) -> EmbeddingSpace | None:
        """The space that the remote holds, or None."""
        return self._mirror.last.space

    async def bind(self, space: EmbeddingSpace) -> None:
        """See `PatternStore.bind`. The space is kept remotely."""
        await self._enter()
        view = await self._mirror.current()
        if view.space is not None and view.space != space:
            raise EmbeddingSpaceError(f"the store holds {view.space}, not {space}")
        self._check_dim(space.dim)
        if view.space is None:
            await self._put([Record(self._revisions.next(), space)])

    async def put_many(self, patterns: Sequence[Pattern]) -> None:
        """See `PatternStore.put_many`. Of several with one id the last counts.

        Raises: BankRejectedError for a pattern that does not fit into a request of 10 MiB, or
            if the remote would grow beyond what one reply can carry.
        """
        await self._enter()
        records = self._prepare(patterns)
        if records:
            await self._put(records)

    async def get(self, namespace: str, ids: Sequence[str]) -> list[Pattern]:
        """See `PatternStore.get`."""
        await self._enter()
        return (await self._mirror.current()).get(namespace, ids)

    async def search(
        self, namespace: str, vector: FloatArray, k: int, where: PatternFilter
    ) -> list[Match]:
        """See `PatternStore.search`. Exact, and over vectors held here."""
        check_count(k, "k")
        query = as_vector(vector, "vector")
        await self._enter()
        tenant = (await self._mirror.current()).tenant(namespace)
        self._check_dim(len(query))
        if not k or not len(tenant):
            return []
        unit = unit_vector(query)
        if len(tenant) <= _INLINE_ROWS and len(tenant) * len(query) <= _INLINE_NUMBERS:
            return nearest(tenant.views(), unit, k, where)
        with tenant.reading() as views:
            return await in_worker(nearest, views, unit, k, where, limiter=self._limiter)

    async def scan(
        self, namespace: str, where: PatternFilter, after: str | None, limit: int
    ) -> list[Pattern]:
        """See `PatternStore.scan`. Other clients' episodes are in the namespace for them."""
        check_count(limit, "limit")
        await self._enter()
        view = await self._mirror.current()
        page: list[Pattern] = []
        while len(page) < limit:
            block = view.after(namespace, after, _SCAN_BLOCK)
            page += [pattern for pattern in block if where.matches(pattern)]
            if len(block) < _SCAN_BLOCK:
                break
            after = block[-1].id
            await anyio.lowlevel.checkpoint()
        return page[:limit]

    async def delete(self, namespace: str, where: PatternFilter) -> int:
        """See `PatternStore.delete`.

        Raises: CapabilityError if an episode of another client passes: those are not ours.
        """
        await self._enter()
        view = await self._mirror.current()
        if view.foreign(namespace, where):
            raise CapabilityError("episodes of other agentic-flow clients are not deleted")
        versions = view.versions(namespace, where)
        if versions:
            await self._operations.run(self._writer.remove, versions)
        return len(versions)

    async def put_skill(self, skill: Skill) -> None:
        """See `PatternStore.put_skill`. Also shown in the remote's skill library, for people."""
        await self._enter()
        if not isinstance(skill, Skill):
            raise InvalidInputError("skill", skill, "a Skill")
        space = self.space
        if space is not None and skill.space != space:
            raise EmbeddingSpaceError(f"the store holds {space}, not {skill.space}")
        self._check_dim(skill.space.dim)
        await self._put([self._record(skill)])
        await self._publish(skill, retired=False)

    async def list_skills(self, namespace: str) -> list[Skill]:
        """See `PatternStore.list_skills`."""
        await self._enter()
        return (await self._mirror.current()).skills(namespace)

    async def delete_skill(self, namespace: str, skill_id: str) -> bool:
        """See `PatternStore.delete_skill`.

        The skill itself is deleted. What the remote's library says of it for people (no weights,
        no users) can't be; a version that says "retired" is added there.
        """
        await self._enter()
        view = await self._mirror.current()
        key = Key(SKILL, namespace, skill_id)
        revision = view.revision(key)
        if revision is None:
            return False
        skill = view.tenant(namespace).skills[skill_id]
        await self._operations.run(self._writer.remove, [(key, revision)])
        await self._publish(skill, retired=True)
        return True

    async def stats(self, namespace: str) -> StoreStats:
        """See `PatternStore.stats`. Bytes are not known."""
        await self._enter()
        view = await self._mirror.current()
        return StoreStats(view.count(namespace), len(view.skills(namespace)))

    async def aclose(self) -> None:
        """End the session, after what is under way; a server of our own saves and stops."""
        if not self._closed:
            self._closed = True
            with anyio.move_on_after(_CLOSE_TIME, shield=True):
                await self._operations.finished()
        await self._connection.aclose()

    async def _enter(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self._closed:
            raise BankClosedError("the agentic-flow store is closed")
        await self._operations.settled()

    async def _put(self, records: list[Record]) -> None:
        await self._operations.run(self._writer.put, records)
        if self._journal.full and self._transport.exclusive:
            _log.info("the server is restarted so that it saves", unsaved=len(self._journal))
            self._connection.restart()

    async def _restore(self, caller: Caller) -> None:
        self._journal.release(await self._transport.saved_until())
        await self._writer.restore(self._client.through(caller))

    async def _publish(self, skill: Skill, *, retired: bool) -> None:
        try:
            await self._library.publish(skill, retired=retired)
        except BankError as exc:
            _log.warning(
                "the skill is not in the remote's library", name=skill.name, error=str(exc)
            )

    def _record(self, value: Pattern | Skill) -> Record:
        kind = PATTERN if isinstance(value, Pattern) else SKILL
        held = self._mirror.last.revision(Key(kind, value.namespace, value.id))
        return Record(self._revisions.next(held), value)

    def _prepare(self, patterns: Iterable[Pattern]) -> list[Record]:
        last: dict[tuple[str, str], Pattern] = {}
        dim = self._mirror.last.dim
        for pattern in patterns:
            if not isinstance(pattern, Pattern):
                raise InvalidInputError("patterns", pattern, "Pattern objects")
            self._check_dim(pattern.dim)
            if dim is not None and pattern.dim != dim:
                raise EmbeddingSpaceError(f"patterns of dimension {dim} and {pattern.dim}")
            dim = pattern.dim
            last[pattern.namespace, pattern.id] = pattern
        return [self._record(pattern) for pattern in last.values()]

    def _check_dim(self, dim: int) -> None:
        held = self._mirror.last
        if held.dim is not None and dim != held.dim:
            what = held.space or f"vectors of dimension {held.dim}"
            raise EmbeddingSpaceError(f"the store holds {what}, not dimension {dim}")
