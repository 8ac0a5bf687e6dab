"""The durable adapter store: one SQLite file, write-ahead log, one writing thread per process."""

from lorabank.stores.sqlite.store import SqliteAdapterStore, open_sqlite_store

__all__ = ["SqliteAdapterStore", "open_sqlite_store"]
