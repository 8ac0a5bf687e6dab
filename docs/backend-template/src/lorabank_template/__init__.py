"""A backend of lorabank to start from: one SQLite file, exact search."""

from lorabank_template.plugin import open_store

__all__ = ["open_store"]
