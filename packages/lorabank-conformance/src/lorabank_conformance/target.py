"""What ``--bank`` names, and which suites prove it."""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import anyio
import pytest

from lorabank.bank.discovery import find_backend
from lorabank.errors import LorabankError
from lorabank.hooks import BankUrl
from lorabank.protocols import Capability, PatternStore, ReasoningBank
from lorabank.stores import AdapterStore, open_adapter_store
from lorabank.types.space import EmbeddingSpace
from lorabank_conformance.laws import Opener

Kind: TypeAlias = Literal["PatternStore", "ReasoningBank", "AdapterStore"]

PLACEHOLDER = "{tmp}"
ADAPTERS = "sqlite"  # the scheme that names an adapter store; `memory://` names a bank
PATIENCE = 60.0
SMALLEST = 4


@dataclass(frozen=True, slots=True)
class Target:
    """What is proved.

    Attributes:
        text: as given to ``--bank``: ``module:function``, or a bank URL.
        kinds: the protocols that it follows.
        declares: names of its capabilities.
        space: what it is proved in.
        place: makes an opener for a fresh directory. That of an adapter store takes ``replay``.
        is_fresh: whether what it opens lies in that directory.
    """

    text: str
    kinds: frozenset[Kind]
    declares: str
    space: EmbeddingSpace
    place: Callable[[Path], Opener]
    is_fresh: bool

    @classmethod
    def resolve(cls, text: str, space: str) -> Target:
        """Import it and open it once.

        Raises: pytest.UsageError if that fails, or what it opens is no store and no bank.
        """
        place, is_fresh = place_of(text)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
            try:
                kinds, declared = anyio.run(_look, place(Path(directory)))
            except Exception as exc:
                raise pytest.UsageError(
                    f"--bank {text}: can't be opened: {type(exc).__name__}: {exc}"
                ) from exc
        if not kinds:
            raise pytest.UsageError(
                f"--bank {text}: opens neither a PatternStore nor a bank nor an AdapterStore"
            )
        if Capability.DURABLE in declared and not is_fresh:
            raise pytest.UsageError(
                f"--bank {text}: it is durable, so every test needs a place of its own: put "
                f"{PLACEHOLDER} into the URL, or let the function take a directory (a Path)"
            )
        names = ", ".join(sorted(capability.name for capability in declared))
        return cls(text, kinds, names, _space_of(space), place, is_fresh)


def place_of(text: str) -> tuple[Callable[[Path], Opener], bool]:
    """An opener for each directory, and whether it makes use of the directory."""
    if "://" in text:
        return (lambda directory: _by_url(text, directory)), PLACEHOLDER in text
    function = _imported(text)
    if _takes_directory(function):
        return (lambda directory: partial(function, directory)), True
    return (lambda _: function), False


def _by_url(text: str, directory: Path) -> Opener:
    url = BankUrl.parse(text.replace(PLACEHOLDER, directory.as_posix()))
    if url.scheme == ADAPTERS:
        return partial(open_adapter_store, url.text)
    backend = find_backend(url.scheme)
    factory: Callable[[BankUrl], Any] | None = backend.open_store or backend.open_bank
    if factory is None:  # pragma: no cover - `Backend` has one of them
        raise LorabankError(f"{url.scheme} opens nothing")
    return lambda: factory(url)


def _imported(text: str) -> Callable[..., Any]:
    module, _, name = text.partition(":")
    # As with `python -m pytest`: a backend is often a module of the directory where it is proved.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise pytest.UsageError(
            f"--bank {text}: neither a URL nor an importable 'module:function' ({exc})"
        ) from exc
    if not callable(function):
        raise pytest.UsageError(f"--bank {text}: is not callable")
    return function  # type: ignore[no-any-return]


def _takes_directory(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.default is p.empty and p.kind in (0, 1) for p in parameters)


def _space_of(text: str) -> EmbeddingSpace:
    name, _, rest = text.partition(":")
    dim, _, suffix = rest.partition(":")
    if not name or not dim.isdecimal() or int(dim) < SMALLEST or suffix not in ("", "normalised"):
        raise pytest.UsageError(
            f"--bank-space {text}: not NAME:DIM or NAME:DIM:normalised, DIM >= {SMALLEST}"
        )
    return EmbeddingSpace(name, int(dim), normalised=bool(suffix))


async def _look(opener: Opener) -> tuple[frozenset[Kind], frozenset[Capability]]:
    """Which protocols it follows, and what it declares."""
    with anyio.fail_after(PATIENCE):
        async with opener() as subject:
            kinds: set[Kind] = set()
            if isinstance(subject, PatternStore):
                kinds.add("PatternStore")
            if isinstance(subject, ReasoningBank):
                kinds.add("ReasoningBank")
            if isinstance(subject, AdapterStore):
                kinds.add("AdapterStore")
            return frozenset(kinds), frozenset(getattr(subject, "capabilities", ()))
