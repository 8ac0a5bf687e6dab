"""The one hook of a backend distribution.

A backend is found by its entry point in the group ``lorabank.backends``, whose name is the URL
scheme. Only the one asked for is imported; then its hook below is called::

    @lorabank.hookimpl
    def lorabank_register_backends(register):
        register(Backend("memory", open_store=open_memory_store))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import pluggy

from lorabank.errors import InvalidInputError
from lorabank.protocols import PatternStore, ReasoningBank

PROJECT = "lorabank"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class BankUrl:
    """A parsed bank URL: ``scheme://host:port/path?option=value``."""

    text: str
    scheme: str
    netloc: str
    path: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> BankUrl:
        """Raises InvalidInputError if there is no scheme, or an option is given twice."""
        parts = urlsplit(text) if isinstance(text, str) else None
        if parts is None or not parts.scheme or "://" not in text:
            raise InvalidInputError("bank", text, "a URL such as 'memory://'")
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        options = dict(pairs)
        if len(options) != len(pairs):
            raise InvalidInputError("bank", text, "each option at most once")
        return cls(text, parts.scheme, parts.netloc, parts.path, options)


@dataclass(frozen=True, slots=True)
class Backend:
    """How to open a scheme: give ``open_store`` (the usual case) or ``open_bank``, not both.

    Each takes the parsed URL and returns an async context manager that owns what it yields.
    """

    scheme: str
    open_store: Callable[[BankUrl], AbstractAsyncContextManager[PatternStore]] | None = None
    open_bank: Callable[[BankUrl], AbstractAsyncContextManager[ReasoningBank]] | None = None

    def __post_init__(self) -> None:
        if (self.open_store is None) == (self.open_bank is None):
            raise InvalidInputError("backend", self.scheme, "exactly one of open_store, open_bank")


Register = Callable[[Backend], None]


@hookspec
def lorabank_register_backends(register: Register) -> None:
    """Call ``register`` once for each scheme that this distribution serves."""
