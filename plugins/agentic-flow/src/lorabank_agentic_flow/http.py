"""A server elsewhere, owned by someone else, over streamable HTTP."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from lorabank.errors import BankRejectedError, BankUnavailableError
from lorabank_agentic_flow.aside import Aside, Cutter
from lorabank_agentic_flow.outgoing import Outgoing
from lorabank_agentic_flow.sdk import http_streams, watch_body
from lorabank_agentic_flow.transport import Streams

# Statuses that won't change by asking again.
_REFUSALS = {401: "who are you? (token)", 403: "forbidden", 404: "nothing there", 405: "no MCP"}
MAX_REPLY = 10 << 20  # mcp-proxy ends a server that answers with more bytes


@dataclass(frozen=True)
class HttpTransport:
    """Connects to a server that speaks streamable HTTP.

    Attributes:
        url: ``http://host:port/mcp`` or ``https://...``, where certificates are verified.
        headers: sent with each request, such as ``Authorization``. Never logged.
        keep: seconds after which a write counts as saved: sql.js saves every five minutes.
        longest_reply: see `Transport.longest_reply`; by default what mcp-proxy carries.
        verify: what certificates are verified against; None: what the HTTP library trusts.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    keep: float = 600.0
    longest_reply: int | None = MAX_REPLY
    verify: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def exclusive(self) -> bool:
        """See `Transport.exclusive`: others may write."""
        return False

    @property
    def journal(self) -> Path | None:
        """See `Transport.journal`: an old one might undo what others did."""
        return None

    async def saved_until(self) -> float:
        """See `Transport.saved_until`. Over HTTP this is an assumption."""
        return time.time() - self.keep

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Streams]:
        """See `Transport.connect`."""
        statuses: list[int] = []
        aside, outgoing, lost = Aside(), Outgoing(), anyio.Event()

        async def note(response: Any) -> None:
            statuses[:] = [int(response.status_code)]
            watch_body(response, Cutter(aside), lost.set)

        try:
            async with http_streams(self.url, self.headers, outgoing, note, self.verify) as (
                read,
                write,
            ):
                yield Streams(read, write, lost, aside, outgoing)
        except Exception as exc:
            untrusted = _untrusted(exc)
            if untrusted is not None:
                raise BankRejectedError(
                    f"the certificate of {self.url} is not trusted: {untrusted.verify_message} "
                    "(give its authority with ca=/path/to/ca.pem)"
                ) from exc
            status = statuses[0] if statuses else None
            if status in _REFUSALS:
                why = f"{self.url} answers {status}: {_REFUSALS[status]}"
                raise BankRejectedError(why) from exc
            raise BankUnavailableError(f"{self.url} can't be reached: {_first(exc)}") from exc


def _untrusted(error: BaseException) -> ssl.SSLCertVerificationError | None:
    found = (e for e in _causes(error) if isinstance(e, ssl.SSLCertVerificationError))
    return next(found, None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what is in it if it is a group, and what each came from."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _causes(part)
        error = error.__cause__ or error.__context__


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
