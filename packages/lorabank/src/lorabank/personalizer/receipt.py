"""What forgetting a user removed, and what was checked afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.stores import ForgetCounts


@dataclass(frozen=True, slots=True)
class ForgetReceipt:
    """Proof of a `Personalizer.forget`.

    Attributes:
        user_key: the keyed hash under which the user was known.
        removed: adapters, queued episodes and experiences removed from the store; its
            ``populations`` held the user's share, name the user no more, and are made again in
            the background: until then they are served as they are. Its ``erased`` is whether
            the bytes were overwritten in the store's files, the write-ahead log included.
        patterns: episodes removed from the bank; None without a bank.
        skills: ids of the skills that held the user's share, removed and rebuilt without it.
        remaining: what the store still held when looked at afterwards.
        verified: whether nothing was found of the user, in the store or in the bank.
    """

    user_key: str
    removed: ForgetCounts
    patterns: int | None
    skills: tuple[str, ...]
    remaining: ForgetCounts
    verified: bool
