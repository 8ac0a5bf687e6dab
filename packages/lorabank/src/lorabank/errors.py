"""The errors of lorabank, one small hierarchy.

    LorabankError
    ├── InvalidInputError          (also a ValueError) an argument is wrong; nothing was changed
    ├── CodecError                 bytes are damaged, truncated, or of a version not known here
    ├── EngineClosedError          the engine is not open (any more)
    ├── StoreError                 an adapter store failed for good (damaged, read-only, foreign)
    │   ├── StoreUnavailableError  a passing fault: asking again later may work
    │   ├── StoreClosedError       the store is closed
    │   └── VersionConflictError   somebody else changed the adapter in between
    └── BankError
        ├── UnknownBackendError    no installed backend serves this URL scheme
        ├── EmbeddingSpaceError    the bank holds another embedding space
        ├── CapabilityError        the backend has declared that it can't do this
        ├── BankUnavailableError   a passing fault: asking again later may work
        ├── BankRejectedError      a permanent fault: the same request will fail again
        └── BankClosedError        the bank is closed

Backends translate what they catch into these, with ``raise ... from exc``.
"""

from __future__ import annotations

__all__ = [
    "BankClosedError",
    "BankError",
    "BankRejectedError",
    "BankUnavailableError",
    "CapabilityError",
    "CodecError",
    "EmbeddingSpaceError",
    "EngineClosedError",
    "InvalidInputError",
    "LorabankError",
    "StoreClosedError",
    "StoreError",
    "StoreUnavailableError",
    "UnknownBackendError",
    "VersionConflictError",
]


class LorabankError(Exception):
    """The root of every error that this library raises on purpose."""


class InvalidInputError(LorabankError, ValueError):
    """An argument is wrong. Raised before anything is changed.

    Attributes: ``field`` (the argument's name), ``value`` (what was given, shortened in the
    message), ``expected`` (what would have been right).
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field = field
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.field}: got {_shorten(self.value)}, expected {self.expected}"


class CodecError(LorabankError):
    """Bytes can't be decoded: damaged, truncated, or written by a newer format version."""


class EngineClosedError(LorabankError):
    """The engine is used outside its ``async with`` block."""


class StoreError(LorabankError):
    """The root of what an adapter store raises; by itself, a fault that will not pass."""


class StoreUnavailableError(StoreError):
    """A passing fault (busy, disk full). Nothing was changed; trying again later may work."""


class StoreClosedError(StoreError):
    """The store was used after it was closed."""


class VersionConflictError(StoreError):
    """The stored adapter is not of the expected version: read it again and recompute."""


class BankError(LorabankError):
    """The root of what a bank or a pattern store raises."""


class UnknownBackendError(BankError):
    """No installed backend serves the URL's scheme. The message says what to install."""


class EmbeddingSpaceError(BankError):
    """A bank holds one embedding space and was given vectors, or an engine, of another."""


class CapabilityError(BankError):
    """The backend declares that it can't do what was asked."""


class BankUnavailableError(BankError):
    """A passing fault (connection lost, timeout, busy). Trying again later may work."""


class BankRejectedError(BankError):
    """A permanent fault: the same request will fail again (too large, malformed, forbidden)."""


class BankClosedError(BankError):
    """The bank or store was used after it was closed."""


def _shorten(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
