"""Reading the whole remote into a new view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lorabank.errors import BankUnavailableError
from lorabank.logs import get_logger
from lorabank.protocols import Embedder
from lorabank.turns import unhurried
from lorabank_agentic_flow.client import HEADROOM, Client
from lorabank_agentic_flow.envelope import from_text
from lorabank_agentic_flow.foreign import foreign_patterns
from lorabank_agentic_flow.listing import Listed, Listing
from lorabank_agentic_flow.records import Record
from lorabank_agentic_flow.replies import Counts
from lorabank_agentic_flow.threads import in_thread
from lorabank_agentic_flow.view import View

_log = get_logger("lorabank_agentic_flow.loading")
_TRIES = 5
_CONFIRMED = 64  # doubtful texts that are asked for one by one; each is a scan of the remote
_BLOCK = 64


@dataclass(frozen=True)
class Snapshot:
    """The remote at one moment.

    Attributes:
        view: the newest versions.
        outdated: revisions that are there and that a newer one replaces.
        counts: rows just before.
        nbytes: of the reply with all of it.
    """

    view: View
    outdated: list[str]
    counts: Counts
    nbytes: int


class _Content:
    """What was read so far.

    Records are put into the view a few at a time, and as they are decoded: there they are plain
    data, which Python's collector of cycles does not walk. Thousands of them at once would have it
    look at everything, and that stops every thread.
    """

    def __init__(self) -> None:
        self.view = View()
        self.outdated: list[str] = []
        self.foreign: list[Listed] = []

    def add(self, episodes: Sequence[Listed]) -> None:
        """Decode episodes. For a thread of its own."""
        block: list[Record] = []
        for episode in unhurried(episodes):
            record = from_text(episode[1])
            if record is None:
                self.foreign.append(episode)
                continue
            block.append(record)
            if len(block) == _BLOCK:
                self.outdated += self.view.put(block)
                block = []
        self.outdated += self.view.put(block)


async def load(
    client: Client,
    count: Callable[[], Awaitable[Counts]],
    namespace: str,
    embedder: Embedder | None,
) -> Snapshot:
    """Read all episodes.

    Args:
        client: to read with.
        count: asks for the rows of the tables.
        namespace: where other writers' episodes are shown.
        embedder: gives them vectors, if it is of the bank's space.
    """
    counts, listing = await _listing(client, count)
    content = _Content()
    await in_thread(content.add, listing.certain)
    if listing.doubtful:
        await in_thread(content.add, await _confirmed(client, listing.doubtful))
    if content.foreign:
        await _add_foreign(client, counts, content.foreign, content.view, namespace, embedder)
    return Snapshot(content.view, content.outdated, counts, listing.nbytes)


async def _listing(
    client: Client, count: Callable[[], Awaitable[Counts]]
) -> tuple[Counts, Listing]:
    for _ in range(_TRIES):
        counts = await count()
        limit = counts.episodes + HEADROOM
        listing = await client.episodes(limit)
        if listing.announced < limit:
            return counts, listing
    raise BankUnavailableError("others store episodes faster than they can be read")


async def _confirmed(client: Client, doubtful: Sequence[Listed]) -> list[Listed]:
    """Ask for each doubtful text alone: what is really an episode is then found word for word."""
    confirmed = [episode for episode in doubtful[:_CONFIRMED] if await client.confirms(episode[1])]
    _log.warning(
        "an episode's text imitates others: what can't be confirmed is left out",
        in_doubt=len(doubtful),
        confirmed=len(confirmed),
    )
    return confirmed


async def _add_foreign(
    client: Client,
    counts: Counts,
    episodes: list[Listed],
    view: View,
    namespace: str,
    embedder: Embedder | None,
) -> None:
    listing = await client.episodes(counts.episodes + HEADROOM, successes=True)
    successes = {row for row, _, _ in listing.certain}
    if embedder is not None and view.space is not None and embedder.space != view.space:
        _log.warning("the embedder is of another space", bank=str(view.space))
        embedder = None
    patterns = await foreign_patterns(episodes, successes, namespace, embedder, view.dim)
    view.put_foreign(patterns, searchable=embedder is not None)
