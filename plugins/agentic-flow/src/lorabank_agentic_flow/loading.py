"""Reading the whole remote into a new view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio.lowlevel
import anyio.to_thread

from lorabank.errors import BankUnavailableError
from lorabank.logs import get_logger
from lorabank.protocols import Embedder
from lorabank_agentic_flow.client import HEADROOM, Client
from lorabank_agentic_flow.envelope import from_text
from lorabank_agentic_flow.foreign import foreign_patterns
from lorabank_agentic_flow.listing import Listed, Listing
from lorabank_agentic_flow.records import Record
from lorabank_agentic_flow.replies import Counts
from lorabank_agentic_flow.view import View

_log = get_logger("lorabank_agentic_flow.loading")
_TRIES = 5
_CONFIRMED = 64  # doubtful texts that are asked for one by one; each is a scan of the remote
_BLOCK = 256


@dataclass(frozen=True)
class Snapshot:
    """The remote at one moment.

    Attributes:
        view: the newest versions.
        outdated: revisions that are there and that a newer one replaces.
        counts: rows just before.
    """

    view: View
    outdated: list[str]
    counts: Counts


@dataclass
class _Decoded:
    records: list[Record] = field(default_factory=list)
    foreign: list[Listed] = field(default_factory=list)


async def load(client: Client, namespace: str, embedder: Embedder | None) -> Snapshot:
    """Read all episodes.

    Args:
        client: to read with.
        namespace: where other writers' episodes are shown.
        embedder: gives them vectors, if it is of the bank's space.
    """
    counts, listing = await _listing(client)
    decoded = await anyio.to_thread.run_sync(_decode, listing.certain)
    await _confirm(client, listing, decoded)
    view = View()
    outdated: list[str] = []
    for start in range(0, len(decoded.records), _BLOCK):
        outdated += view.put(decoded.records[start : start + _BLOCK])
        await anyio.lowlevel.checkpoint()
    if decoded.foreign:
        await _add_foreign(client, counts, decoded.foreign, view, namespace, embedder)
    return Snapshot(view, outdated, counts)


async def _listing(client: Client) -> tuple[Counts, Listing]:
    for _ in range(_TRIES):
        counts = await client.counts()
        limit = counts.episodes + HEADROOM
        listing = await client.episodes(limit)
        if listing.announced < limit:
            return counts, listing
    raise BankUnavailableError("others store episodes faster than they can be read")


def _decode(episodes: Sequence[Listed]) -> _Decoded:
    decoded = _Decoded()
    for episode in episodes:
        record = from_text(episode.task)
        if record is None:
            decoded.foreign.append(episode)
        else:
            decoded.records.append(record)
    return decoded


async def _confirm(client: Client, listing: Listing, decoded: _Decoded) -> None:
    """Ask for each doubtful text alone: what is really an episode is then found word for word."""
    if not listing.doubtful:
        return
    confirmed = [
        episode for episode in listing.doubtful[:_CONFIRMED] if await client.confirms(episode.task)
    ]
    _log.warning(
        "an episode's text imitates others: what can't be confirmed is left out",
        in_doubt=len(listing.doubtful),
        confirmed=len(confirmed),
    )
    more = _decode(confirmed)
    decoded.records += more.records
    decoded.foreign += more.foreign


async def _add_foreign(
    client: Client,
    counts: Counts,
    episodes: list[Listed],
    view: View,
    namespace: str,
    embedder: Embedder | None,
) -> None:
    listing = await client.episodes(counts.episodes + HEADROOM, successes=True)
    successes = {episode.row for episode in listing.certain}
    if embedder is not None and view.space is not None and embedder.space != view.space:
        _log.warning("the embedder is of another space", bank=str(view.space))
        embedder = None
    patterns = await foreign_patterns(episodes, successes, namespace, embedder, view.dim)
    view.put_foreign(patterns, searchable=embedder is not None)
