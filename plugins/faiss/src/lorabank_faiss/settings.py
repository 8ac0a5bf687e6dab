"""What a URL can set: ``faiss:///path/to/dir?flat_limit=20000&readers=4``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lorabank.errors import InvalidInputError
from lorabank.hooks import BankUrl
from lorabank.types.checks import check_count, check_positive


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a bank lives and how it behaves.

    Attributes:
        directory: holds the database and the snapshots; made if it is not there.
        flat_limit: a namespace of up to this many patterns is searched exactly; a larger one gets
            an approximate index.
        tail_limit: new vectors of an approximate index that are searched exactly until they are
            merged into it.
        readers: reads at once, each in a worker thread with a connection of its own.
        busy_timeout: seconds to wait for other processes before `BankUnavailableError`.
        cache_mb: memory for exact namespaces; those used longest ago are dropped beyond it, and
            read again when needed. Approximate indexes stay and are not counted.
    """

    directory: Path
    flat_limit: int = 10_000
    tail_limit: int = 1_000
    readers: int = 4
    busy_timeout: float = 10.0
    cache_mb: int = 512

    def __post_init__(self) -> None:
        for name in ("flat_limit", "tail_limit", "readers", "cache_mb"):
            check_count(getattr(self, name), name, low=1)
        check_positive(self.busy_timeout, "busy_timeout")

    @classmethod
    def from_url(cls, url: BankUrl) -> Settings:
        """Raises InvalidInputError: no absolute path, an unknown option, a value out of range."""
        path = unquote(url.path)
        if url.netloc or len(path) < 2 or "\0" in path:
            raise InvalidInputError("bank", url.text, "'faiss:///path/to/directory'")
        return cls(Path(path), **_options(url.options))


def _options(given: Mapping[str, str]) -> dict[str, Any]:
    kinds = {field.name: field.type for field in fields(Settings) if field.name != "directory"}
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in kinds:
            raise InvalidInputError("bank option", name, "one of " + ", ".join(kinds))
        try:
            values[name] = int(text) if kinds[name] == "int" else float(text)
        except ValueError as exc:
            raise InvalidInputError(f"bank option {name}", text, f"of type {kinds[name]}") from exc
    return values
