"""Changes as bytes, made before the transaction so that it is short."""

from __future__ import annotations

from typing import NamedTuple

from lorabank.codec import encode
from lorabank.config import ReplayConfig
from lorabank.replay import kept
from lorabank.stores.base import Change, Experience


class EpisodeRecord(NamedTuple):
    """A finished episode."""

    user_key: str
    created_at: float
    body: bytes


class ExperienceRecord(NamedTuple):
    """A row of the replay, in the order of its columns."""

    user_key: str
    created_at: float
    rows: int
    size: int
    body: bytes


class ChangeRecord(NamedTuple):
    """A `Change`."""

    user_id: str
    version: int
    expected: int | None
    adapter: bytes
    episodes: tuple[EpisodeRecord, ...]
    experience: ExperienceRecord | None


def change_record(change: Change, replay: ReplayConfig, half: bool) -> ChangeRecord:
    """A change as bytes; the weights in float16 if ``half``.

    Raises:
        CodecError: something in it can't be encoded.
    """
    adapter, experience = change.adapter, change.experience
    return ChangeRecord(
        adapter.user_id,
        adapter.version,
        change.expected,
        adapter.to_bytes(half=half),
        tuple(
            EpisodeRecord(p.user_key, p.created_at, encode(p, "pattern")) for p in change.episodes
        ),
        _experience_record(experience, replay) if experience and replay.enabled else None,
    )


def _experience_record(experience: Experience, replay: ReplayConfig) -> ExperienceRecord:
    feedback = kept(experience.feedback, replay.max_rows_per_user)
    return ExperienceRecord(
        experience.user_key,
        experience.created_at,
        len(feedback),
        feedback.nbytes,
        encode(feedback, "feedback"),
    )
