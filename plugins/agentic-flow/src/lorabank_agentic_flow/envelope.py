"""Records as one line of text that survives the remote: words for people, then an envelope.

``film preferences || lorabank {"v":1,"kind":"pattern","rev":...,"sum":...,"body":...}``

``body`` is base64 of the core codec's bytes; ``sum`` covers kind, revision and body. Whatever is
not exactly that is somebody else's text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from lorabank.codec import decode, encode
from lorabank.errors import CodecError, LorabankError
from lorabank.types.pattern import Pattern
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank_agentic_flow.records import PATTERN, SKILL, SPACE, Record

VERSION = 1
_SEPARATOR = " || lorabank {"
_REVISION = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_CLAIM = re.compile(r'"v":\d+,"kind":"[a-z]+","rev":"([0-9a-f]{16}-[0-9a-f]{8})"')
_READABLE = 300  # characters

_DECODERS: Mapping[str, Callable[[bytes], Pattern | Skill | EmbeddingSpace]] = {
    PATTERN: lambda body: decode(Pattern, "pattern", body),
    SKILL: lambda body: decode(Skill, "skill", body),
    SPACE: lambda body: EmbeddingSpace(**json.loads(body)),
}


def to_text(record: Record) -> str:
    """The record as one line."""
    kind = record.key.kind
    body = base64.urlsafe_b64encode(_body(record)).decode().rstrip("=")
    fields = {"v": VERSION, "kind": kind, "rev": record.revision}
    fields |= {"sum": _checksum(kind, record.revision, body), "body": body}
    envelope = json.dumps(fields, separators=(",", ":"))
    return f"{one_line(_readable(record))}{_SEPARATOR}{envelope[1:]}"


def from_text(text: str) -> Record | None:
    """The record, or None for text without a whole and undamaged envelope at its end."""
    _, found, rest = text.rpartition(_SEPARATOR)
    if not found or "\n" in text:
        return None
    try:
        return _decode(json.loads("{" + rest))
    except (ValueError, TypeError, KeyError, RecursionError, LorabankError):
        return None


def revision_of(text: str) -> str | None:
    """The revision that an envelope at the text's end claims, whether or not it is whole."""
    _, _, rest = text.rpartition(_SEPARATOR)
    found = _CLAIM.match(rest)
    return found[1] if found else None


def one_line(text: str, limit: int = _READABLE) -> str:
    """Text without line ends or other control characters, cut to ``limit`` characters."""
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    return " ".join(shown.split())[:limit]


def _decode(fields: Any) -> Record:
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise CodecError("not an envelope of this version")
    kind, revision, body = fields["kind"], fields["rev"], fields["body"]
    if not _REVISION.fullmatch(revision) or fields["sum"] != _checksum(kind, revision, body):
        raise CodecError("the envelope is damaged")
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise CodecError("the envelope's body is damaged") from exc
    record = Record(revision, _DECODERS[kind](data))
    if record.key.kind != kind:
        raise CodecError("the envelope holds another kind")
    return record


def _checksum(kind: str, revision: str, body: str) -> str:
    data = f"{kind} {revision} {body}".encode()
    return hashlib.blake2b(data, digest_size=8, person=b"lorabank").hexdigest()


def _body(record: Record) -> bytes:
    value = record.value
    if isinstance(value, EmbeddingSpace):
        fields = {"name": value.name, "dim": value.dim, "normalised": value.normalised}
        return json.dumps(fields).encode()
    return encode(value, record.key.kind)


def _readable(record: Record) -> str:
    value = record.value
    if isinstance(value, Pattern):
        return f"{value.task or 'adaptation'} {value.critique}"
    if isinstance(value, Skill):
        return f"skill {value.name}"
    return f"embedding space {value}"
