"""How records become rows, and rows calls."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorabank.errors import CodecError, InvalidInputError
from lorabank.turns import unhurried
from lorabank.types.pattern import Outcome, Pattern
from lorabank_agentic_flow.client import Episode
from lorabank_agentic_flow.envelope import to_text
from lorabank_agentic_flow.records import Record, session_of

BATCH_ROWS = 500
# The SDK encodes a message in one go, in the event loop: so much takes it some milliseconds.
_BATCH_BYTES = 1 << 18
_BATCH_TASK = 10_000
# The server's batch tool refuses texts that look like this.
_SUSPICIOUS = re.compile(r"<script|javascript:|on\w+\s*=|\x00", re.IGNORECASE)
_UNSCORED = 0.5  # the reward that the remote shows for an episode without outcome


def as_episodes(records: Sequence[Record]) -> list[Episode]:
    """The rows that hold records.

    Raises:
        BankRejectedError: one is too large for any request.
        InvalidInputError: one holds what can't be written, such as NaN put in later.
    """
    try:
        episodes = [as_episode(record) for record in unhurried(records)]
    except CodecError as exc:
        raise InvalidInputError("records", str(exc), "records that can be written") from exc
    for episode in unhurried(episodes):
        episode.check_size()
    return episodes


def as_episode(record: Record) -> Episode:
    """The row that holds a record, readable for other agentic-flow clients."""
    value = record.value
    session, text = session_of(record.revision), to_text(record)
    if not isinstance(value, Pattern):
        return Episode(session, text, _UNSCORED, False)
    outcome: Outcome | None = value.outcome
    if outcome is None:
        return Episode(session, text, _UNSCORED, False, value.latency_ms)
    return Episode(session, text, outcome.reward, outcome.success, value.latency_ms)


def plan(episodes: Sequence[Episode]) -> tuple[list[list[Episode]], list[Episode]]:
    """Batches, each one transaction, and those that must be stored one by one."""
    if len(episodes) < 2:
        return [], list(episodes)
    singles = [episode for episode in unhurried(episodes) if not fit_for_batch(episode.task)]
    batches: list[list[Episode]] = []
    size = 0
    for episode in unhurried(episodes):
        if not fit_for_batch(episode.task):
            continue
        if not batches or len(batches[-1]) >= BATCH_ROWS or size > _BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(episode)
        size += episode.size
    return batches, singles


def fit_for_batch(task: str) -> bool:
    """Whether the server's batch tool takes this text: it counts UTF-16 units, and is wary."""
    return len(task.encode("utf-16-le")) <= 2 * _BATCH_TASK and not _SUSPICIOUS.search(task)
