"""Ids given by the writer, and the keyed hash that stands for a user in a bank."""

from __future__ import annotations

import hashlib
import os

from lorabank.types.checks import check_text


def new_id(now: float) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) as text: ids sort by ``now`` (unix seconds)."""
    stamp = f"{int(now * 1000) & ((1 << 48) - 1):012x}"
    chance = os.urandom(10).hex()
    variant = "89ab"[int(chance[3], 16) & 0b11]
    return f"{stamp[:8]}-{stamp[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


def user_key(user_id: str, secret: bytes) -> str:
    """The name of a user inside a bank: keyed BLAKE2b, 16 bytes, hexadecimal.

    The key keeps whoever reads the bank from guessing ids; who has it can still find (and
    forget) a user's episodes.
    """
    check_text(user_id, "user_id")
    return hashlib.blake2b(user_id.encode(), key=secret, digest_size=16).hexdigest()
