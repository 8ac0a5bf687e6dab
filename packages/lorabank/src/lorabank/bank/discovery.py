"""Finding the backend of a URL scheme: entry points, imported only when asked for.

Reads the installed distributions' metadata, which takes milliseconds of disk access: call it from
a worker thread in async code.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import pluggy

from lorabank import hooks
from lorabank.errors import InvalidInputError, UnknownBackendError
from lorabank.hooks import Backend

GROUP = "lorabank.backends"

# What can be installed: scheme -> (distribution, what it is).
KNOWN_BACKENDS = {
    "memory": ("lorabank-memory", "in memory, exact search, private to each open"),
    "faiss": ("lorabank-faiss", "in a directory on disk, searched with FAISS"),
    "agentic-flow+stdio": ("lorabank-agentic-flow", "agentic-flow as a child process"),
    "agentic-flow+http": ("lorabank-agentic-flow", "agentic-flow over HTTP"),
}


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """A backend that is installed, or could be.

    Attributes:
        scheme: of its URLs.
        distribution: what to install; "" if an installed one does not say.
        version: of the installed distribution; None if it is not installed.
        description: one line.
    """

    scheme: str
    distribution: str
    version: str | None
    description: str

    @property
    def installed(self) -> bool:
        """Whether it can be used now."""
        return self.version is not None


def list_backends() -> tuple[BackendInfo, ...]:
    """All backends installed or known, by scheme. No plugin is imported."""
    installed = {point.name: point for point in entry_points(group=GROUP)}
    schemes = sorted(installed.keys() | KNOWN_BACKENDS.keys())
    return tuple(_info(scheme, installed.get(scheme)) for scheme in schemes)


def find_backend(scheme: str) -> Backend:
    """Import the plugin that serves ``scheme``, alone, and ask it for its backend.

    Raises:
        UnknownBackendError: none is installed (the message says what to install), several are, or
            the one installed can't be imported or does not serve the scheme.
    """
    point = _entry_point(scheme)
    source = f"backend {scheme!r} of {_distribution(point) or point.value}"
    try:
        plugin = point.load()
    except Exception as exc:
        raise UnknownBackendError(f"{source} can't be imported: {exc}") from exc
    found = _registered(plugin, source).get(scheme)
    if found is None:
        raise UnknownBackendError(f"{source} does not register this scheme")
    return found


def _entry_point(scheme: str) -> EntryPoint:
    # One distribution may be on the path twice (an editable and a built copy): the first counts.
    points: dict[str, EntryPoint] = {
        _distribution(p): p for p in reversed([*entry_points(group=GROUP, name=scheme)])
    }
    if not points:
        raise UnknownBackendError(_unknown(scheme))
    if len(points) > 1:
        names = ", ".join(sorted(points))
        raise UnknownBackendError(
            f"backend {scheme!r} is offered by {names}: uninstall all but one"
        )
    (point,) = points.values()
    return point


def _registered(plugin: object, source: str) -> dict[str, Backend]:
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    backends: dict[str, Backend] = {}

    def register(backend: Backend) -> None:
        if not isinstance(backend, Backend):
            raise InvalidInputError("backend", backend, "a lorabank.hooks.Backend")
        if backend.scheme in backends:
            raise InvalidInputError("backend", backend.scheme, "each scheme registered once")
        backends[backend.scheme] = backend

    try:
        manager.register(plugin)
        manager.check_pending()
        manager.hook.lorabank_register_backends(register=register)
    except Exception as exc:
        raise UnknownBackendError(f"{source} can't be registered: {exc}") from exc
    return backends


def _unknown(scheme: str) -> str:
    if scheme in KNOWN_BACKENDS:
        return f"unknown backend {scheme!r}: pip install {KNOWN_BACKENDS[scheme][0]}"
    known = sorted({info.scheme for info in list_backends()})
    close = difflib.get_close_matches(scheme, known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown backend {scheme!r}: {guess}known are {', '.join(known)}"


def _info(scheme: str, point: EntryPoint | None) -> BackendInfo:
    distribution, description = KNOWN_BACKENDS.get(scheme, ("", ""))
    if point is None:
        return BackendInfo(scheme, distribution, None, description)
    version = "?"
    if point.dist is not None:
        distribution, version = point.dist.name, point.dist.version
        description = description or (point.dist.metadata["Summary"] or "")
    return BackendInfo(scheme, distribution, version, description)


def _distribution(point: EntryPoint) -> str:
    return "" if point.dist is None else point.dist.name
