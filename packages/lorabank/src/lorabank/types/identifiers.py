"""Ids given by the writer, and the keyed hash that stands for a user in a bank."""

from __future__ import annotations

import hashlib
import secrets

from lorabank.types.checks import check_text


def new_id(now: float) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) as text: ids sort by ``now`` (unix seconds)."""
    milliseconds = int(now * 1000) & ((1 << 48) - 1)
    random_bits = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random_bits >> 62) << 64
    value |= 0b10 << 62 | (random_bits & ((1 << 62) - 1))
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def user_key(user_id: str, secret: bytes) -> str:
    """The name of a user inside a bank: keyed BLAKE2b, 16 bytes, hexadecimal.

    The key keeps whoever reads the bank from guessing ids; who has it can still find (and
    forget) a user's episodes.
    """
    check_text(user_id, "user_id")
    return hashlib.blake2b(user_id.encode(), key=secret, digest_size=16).hexdigest()
