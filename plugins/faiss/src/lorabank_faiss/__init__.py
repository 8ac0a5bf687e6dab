"""Durable backend of lorabank: SQLite is the truth, FAISS the derived index."""

from lorabank_faiss.opening import open_store
from lorabank_faiss.settings import Settings
from lorabank_faiss.store import FaissStore

__all__ = ["FaissStore", "Settings", "open_store"]
