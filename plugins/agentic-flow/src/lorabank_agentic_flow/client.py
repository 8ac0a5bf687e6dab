"""Typed calls on the few tools of agentdb's server that are used."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lorabank.errors import BankRejectedError
from lorabank.turns import unhurried
from lorabank_agentic_flow import replies
from lorabank_agentic_flow.envelope import revision_of
from lorabank_agentic_flow.listing import Listed, Listing, read_listing
from lorabank_agentic_flow.replies import Counts
from lorabank_agentic_flow.session import Caller, ConnectionLostError
from lorabank_agentic_flow.threads import in_thread

# npm mcp-proxy refuses bodies of more than 10 MiB; a little is for what wraps the arguments.
MAX_REQUEST = 10 * 1024 * 1024 - 4096
_CACHE_LIFE = 310.0  # seconds; the server's read cache answers from memory for five minutes
_LOWEST = -1e9
HEADROOM = 1000  # episodes that others may add between counting and asking


@dataclass(frozen=True, slots=True)
class Episode:
    """A row as it is stored remotely. ``latency`` is in milliseconds."""

    session: str
    task: str
    reward: float
    success: bool
    latency: float = 0.0

    def arguments(self) -> dict[str, Any]:
        """As the tools want it."""
        return {
            "session_id": self.session,
            "task": self.task,
            "reward": self.reward,
            "success": self.success,
            "latency_ms": self.latency,
        }

    @property
    def size(self) -> int:
        """Bytes of the request that stores it."""
        return len(json.dumps(self.arguments(), ensure_ascii=False).encode()) + 64

    def check_size(self) -> None:
        """Raises BankRejectedError if no request can hold it."""
        if len(self.task) > MAX_REQUEST // 8 and self.size > MAX_REQUEST:
            raise BankRejectedError(
                f"a record of {self.size} bytes: agentic-flow takes at most {MAX_REQUEST} a request"
            )


class FreshReads:
    """Gives ``min_reward`` values that go around the server's read cache.

    Each answer stays in that cache under its arguments, so values are used again as soon as their
    entry has expired: the cache does not grow without need.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._base = _LOWEST - secrets.randbelow(1 << 32)
        self._used: list[float] = []

    def next(self) -> float:
        """A value below any reward, not used in the last five minutes."""
        now = self._monotonic()
        for slot, used in enumerate(self._used):
            if now - used > _CACHE_LIFE:
                self._used[slot] = now
                return self._base - slot
        self._used.append(now)
        return self._base - len(self._used) + 1


class Client:
    """Calls through a connection. Raises what `Caller.call` does."""

    def __init__(self, caller: Caller, reads: FreshReads) -> None:
        self._caller = caller
        self._reads = reads

    def through(self, caller: Caller) -> Client:
        """The same client over another connection."""
        return Client(caller, self._reads)

    async def store(self, episode: Episode) -> None:
        """Store one episode. Again stores a second row of the same session."""
        replies.stored_row(await self._text("reflexion_store", episode.arguments()))

    async def store_batch(self, episodes: Sequence[Episode]) -> None:
        """Store all of them in one transaction. Each must be `fit_for_batch`."""
        rows = [episode.arguments() for episode in episodes]
        arguments = {"episodes": rows, "batch_size": len(rows)}
        text = await self._text("reflexion_store_batch", arguments)
        if replies.stored_rows(text) != len(rows):
            raise replies.unknown("reflexion_store_batch", text)

    async def delete(self, session: str) -> int:
        """Delete all rows of a session; how many there were."""
        arguments = {"filters": {"session_id": session}}
        return replies.deleted_rows(await self._text("agentdb_delete", arguments))

    async def delete_revisions(self, revisions: Collection[str]) -> int:
        """Delete the rows of many versions, in one transaction; how many there were."""
        while True:
            session = await self._caller.pinned()
            try:
                return await self.through(session)._delete_found(revisions)
            except ConnectionLostError:
                continue

    async def episodes(self, limit: int, *, successes: bool = False) -> Listing:
        """Up to ``limit`` episodes as they are now; only the successful ones if asked so."""
        return await self._retrieve("lorabank", limit, successes)

    async def confirms(self, task: str) -> bool:
        """Whether an episode of exactly this text is there: it is then the most similar one."""
        listing = await self._retrieve(task, 1, False)
        return any(text == task for _, text, _ in listing.certain)

    async def counts(self) -> Counts:
        """Rows of the tables, as they are now."""
        return replies.counts(await self._text("db_stats", {}))

    async def publish_skill(self, name: str, description: str, success_rate: float) -> None:
        """Add to the remote's skill library. A name that is there is a BankRejectedError."""
        arguments = {"name": name, "description": description, "success_rate": success_rate}
        replies.skill_created(await self._text("skill_create", arguments))

    async def _delete_found(self, revisions: Collection[str]) -> int:
        limit = (await self.counts()).episodes + HEADROOM
        listing = await self.episodes(limit)
        listed = (*listing.certain, *listing.doubtful)
        rows = await in_thread(_rows_of, listed, revisions)
        if not rows:
            return 0
        text = await self._text("agentdb_delete_batch", {"ids": rows, "table": "episodes"})
        return replies.batch_deleted_rows(text)

    async def _retrieve(self, task: str, k: int, successes: bool) -> Listing:
        arguments: dict[str, Any] = {"task": task, "k": k, "min_reward": self._reads.next()}
        if successes:
            arguments["only_successes"] = True
        reply = await self._caller.call("reflexion_retrieve", arguments)
        if reply.long:
            listing = await in_thread(read_listing, reply.pieces())
        else:
            listing = read_listing(reply.pieces())
        return replace(listing, nbytes=reply.nbytes)

    async def _text(self, tool: str, arguments: dict[str, Any]) -> str:
        return (await self._caller.call(tool, arguments)).text


def _rows_of(listed: Sequence[Listed], revisions: Collection[str]) -> list[int]:
    return [row for row, text, _ in unhurried(listed) if revision_of(text) in revisions]
