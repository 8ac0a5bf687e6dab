"""Options of a bank's URL."""

from __future__ import annotations

import math
import os
import shutil
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from lorabank.errors import InvalidInputError
from lorabank.hooks import BankUrl
from lorabank.types.checks import check_positive, check_text
from lorabank_agentic_flow.http import MAX_REPLY, HttpTransport
from lorabank_agentic_flow.stdio import StdioTransport

_COMMON = {"timeout", "cache_mb", "foreign"}
_STDIO = _COMMON | {"server", "node"}
_HTTP = _COMMON | {"refresh", "max_age", "tls", "ca", "token_env", "keep", "reply_mb"}


@dataclass(frozen=True)
class Settings:
    """How the store behaves, whatever the transport.

    Attributes:
        timeout: seconds that a call may take, reconnecting included.
        cache_bytes: largest view that is kept between reads.
        journal_bytes: of writes that are kept until they are known to be saved.
        foreign: the namespace that shows other clients' episodes.
        refresh: seconds between two looks at whether other clients have written.
        max_age: seconds after which everything is read again where others may write.
    """

    timeout: float = 30.0
    cache_bytes: int = 256 << 20
    journal_bytes: int = 64 << 20
    foreign: str = "agentic-flow"
    refresh: float = 1.0
    max_age: float = 300.0

    def __post_init__(self) -> None:
        check_positive(self.timeout, "timeout")
        check_text(self.foreign, "foreign")
        for name in ("cache_bytes", "refresh", "max_age"):
            if not getattr(self, name) >= 0:
                raise InvalidInputError(name, getattr(self, name), "at least 0")


def stdio_options(url: BankUrl) -> tuple[StdioTransport, Settings]:
    """Of ``agentic-flow+stdio:///path/to/agentdb.db?server=/path/to/agentdb-mcp-server.js``.

    Raises: InvalidInputError for an unknown or missing option, or if Node.js is not there.
    """
    _check_known(url, _STDIO)
    if url.netloc or url.path in ("", "/"):
        raise InvalidInputError(
            "bank", url.text, "agentic-flow+stdio:///path/to/agentdb.db?server="
        )
    if "server" not in url.options:
        raise InvalidInputError(
            "bank", url.text, "the option server=/path/to/agentdb-mcp-server.js"
        )
    node = shutil.which(url.options.get("node", "node"))
    if node is None:
        raise InvalidInputError("node", url.options.get("node", "node"), "Node.js on the path")
    transport = StdioTransport(Path(unquote(url.path)), Path(url.options["server"]), node)
    return transport, _common(url.options)


def http_options(url: BankUrl) -> tuple[HttpTransport, Settings]:
    """Of ``agentic-flow+http://host:port/mcp``; ``tls=true`` for https.

    ``token_env`` names the environment variable that holds a bearer token; ``ca`` a PEM file of
    the authorities that certificates are verified against. ``reply_mb`` is the longest reply that
    the server's owner lets pass, in MiB; 0: of any length.

    Raises: InvalidInputError for an unknown option, no host, or a token or file that is not there.
    """
    _check_known(url, _HTTP)
    if not url.netloc:
        raise InvalidInputError("bank", url.text, "agentic-flow+http://host:port/mcp")
    tls = url.options.get("tls", "false")
    if tls not in ("true", "false"):
        raise InvalidInputError("tls", tls, "true or false")
    scheme = "https" if tls == "true" else "http"
    transport = HttpTransport(
        f"{scheme}://{url.netloc}{url.path or '/mcp'}",
        _headers(url.options.get("token_env")),
        _number(url.options, "keep", HttpTransport.keep),
        int(_number(url.options, "reply_mb", MAX_REPLY / (1 << 20)) * (1 << 20)) or None,
        _authorities(url.options.get("ca"), tls),
    )
    return transport, _common(url.options)


def _common(options: Mapping[str, str]) -> Settings:
    return Settings(
        timeout=_number(options, "timeout", Settings.timeout),
        cache_bytes=int(_number(options, "cache_mb", Settings.cache_bytes / (1 << 20)) * (1 << 20)),
        foreign=options.get("foreign", Settings.foreign),
        refresh=_number(options, "refresh", Settings.refresh),
        max_age=_number(options, "max_age", Settings.max_age),
    )


def _headers(variable: str | None) -> dict[str, str]:
    if variable is None:
        return {}
    token = os.environ.get(variable)
    if not token:
        raise InvalidInputError("token_env", variable, "an environment variable that is set")
    return {"Authorization": f"Bearer {token}"}


def _authorities(path: str | None, tls: str) -> ssl.SSLContext | None:
    if path is None:
        return None
    if tls != "true":
        raise InvalidInputError("ca", path, "tls=true beside it")
    try:
        return ssl.create_default_context(cafile=Path(path))
    except OSError as exc:  # ssl.SSLError, too
        raise InvalidInputError("ca", path, f"a PEM file of certificates ({exc})") from exc


def _number(options: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InvalidInputError(name, options.get(name), "a number of at least 0")
    return value


def _check_known(url: BankUrl, known: set[str]) -> None:
    unknown = sorted(url.options.keys() - known)
    if unknown:
        raise InvalidInputError("bank", unknown, "options among " + ", ".join(sorted(known)))
