"""The two generations of the MCP SDK behind one small face.

1.x names fields in camelCase, keeps its messages in ``mcp.types``, and wraps them; 2.x names them
in snake_case and keeps them in ``mcp_types``.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared import exceptions
from mcp.shared.message import SessionMessage

from lorabank_agentic_flow.aside import Cutter
from lorabank_agentic_flow.outgoing import Outgoing
from lorabank_agentic_flow.posting import Posts

__all__ = ["ClientSession", "SessionMessage", "protocol_error_code"]

_SECOND = int(version("mcp").split(".", 1)[0]) >= 2
# 2.x refuses answers of more than 1 MiB unless it is told otherwise; 1.x has no such limit.
_NO_LIMIT: dict[str, Any] = {"max_sse_event_size": None} if _SECOND else {}
_httpx: Any = importlib.import_module("httpx2" if _SECOND else "httpx")
_TIMEOUT, _STREAM_TIMEOUT = 30.0, 300.0  # seconds, as the SDK has them

ProtocolError: type[Exception] = getattr(exceptions, "MCPError" if _SECOND else "McpError")


def _message_reader() -> Any:
    if _SECOND:
        adapter: Any = importlib.import_module("mcp_types").jsonrpc_message_adapter
        return lambda line: adapter.validate_json(line, by_name=False)
    message: Any = importlib.import_module("mcp.types").JSONRPCMessage
    return message.model_validate_json


_read_message = _message_reader()


def read_message(line: bytes) -> SessionMessage:
    """One JSON-RPC message. Raises ValueError if it is none."""
    return SessionMessage(_read_message(line))


def write_message(message: SessionMessage) -> bytes:
    """The message as one line."""
    body: Any = message.message
    text = body.model_dump_json(by_alias=True, exclude_unset=True)
    return f"{text}\n".encode()


def is_error(result: Any) -> bool:
    """Whether a tool's result says that the call failed."""
    flag = getattr(result, "is_error", None)
    return bool(getattr(result, "isError", False) if flag is None else flag)


def texts_of(result: Any) -> list[str]:
    """The texts of a tool's result."""
    parts = (getattr(part, "text", None) for part in result.content)
    return [part for part in parts if isinstance(part, str)]


def protocol_error_code(error: Exception) -> int:
    """The JSON-RPC code of a `ProtocolError`."""
    detail: Any = getattr(error, "error", None)
    return int(getattr(detail, "code", 0))


class _Body(_httpx.AsyncByteStream):  # type: ignore[misc]
    """A response's body without its long strings."""

    def __init__(self, body: Any, cutter: Cutter | None, on_end: Callable[[], None]) -> None:
        self._body = body
        self._cutter = cutter
        self._on_end = on_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                yield chunk if self._cutter is None else self._cutter.feed(chunk)
        except Exception:
            self._on_end()
            raise
        if self._cutter is not None:
            yield self._cutter.finish()
        self._on_end()

    async def aclose(self) -> None:
        await self._body.aclose()


def watch_body(response: Any, cutter: Cutter, lost: Callable[[], None]) -> None:
    """Set aside what is long in a response that is about to be read, and notice if it breaks off.

    The SDK closes a stream of events as soon as it has read the answer in it. If such a stream ends
    before, ``lost`` is called: no answer comes any more, but 1.x would not say so.
    """
    kind = str(response.headers.get("content-type", "")).lower()
    answering = response.request.method == "POST" and kind.startswith("text/event-stream")
    plain = "content-encoding" not in response.headers
    on_end = lost if answering else _nothing
    response.stream = _Body(response.stream, cutter if plain else None, on_end)


def _nothing() -> None:
    pass


class _Pieces(_httpx.AsyncByteStream):  # type: ignore[misc]
    """A request's body, sent piece by piece."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def _fill_body(request: Any, outgoing: Outgoing) -> None:
    if request.method == "POST":
        pieces = outgoing.filled(await request.aread())
        if len(pieces) > 1:
            request.stream = _Pieces(pieces)
            request.headers["Content-Length"] = str(sum(map(len, pieces)))


@asynccontextmanager
async def http_streams(
    url: str,
    headers: Mapping[str, str],
    outgoing: Outgoing,
    on_response: Any,
    verify: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[Any, Any]]:
    """Read and write streams of a streamable-HTTP session.

    ``outgoing`` holds long texts of what is sent. ``on_response`` is awaited with each HTTP
    response. TLS certificates are verified against ``verify``, by default against the authorities
    that the HTTP library trusts.
    """
    posts = Posts(_httpx.URL(url))

    async def on_request(request: Any) -> None:
        await _fill_body(request, outgoing)
        await posts.on_request(request)

    client: Any = _httpx.AsyncClient(
        headers={**headers, "Accept-Encoding": "identity"},  # compressed bodies can't be cut
        timeout=_httpx.Timeout(_TIMEOUT, read=_STREAM_TIMEOUT, pool=None),  # each call has a limit
        verify=True if verify is None else verify,
        follow_redirects=not _SECOND,  # 2.x follows those within the origin by itself
        event_hooks={"request": [on_request], "response": [on_response]},
    )
    async with client, streamable_http_client(url, http_client=client, **_NO_LIMIT) as streams:
        if _SECOND:
            yield streams[0], streams[1]
        else:
            async with posts.one_by_one(streams[1]) as write:
                yield streams[0], write
