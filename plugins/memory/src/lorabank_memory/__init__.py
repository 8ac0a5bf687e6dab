"""In-memory backend of lorabank: exact search, private to each open (``memory://``)."""

from lorabank_memory.store import MemoryStore

__all__ = ["MemoryStore"]
