"""A TLS proxy that asks for a token, in front of a real server: what a company would run."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class TlsProxy(ThreadingHTTPServer):
    """Passes on what carries ``Authorization: <authorization>``, and counts.

    Attributes:
        passed: requests that went on to ``behind``.
        refused: requests that got 401.
        failed: connections that ended in the handshake.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, behind: str, context: ssl.SSLContext, authorization: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.context, self.authorization = behind, context, authorization
        self.passed = self.refused = self.failed = 0
        self.counting = threading.Lock()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake is made in the connection's own thread."""
        try:
            secure = self.context.wrap_socket(request, server_side=True)
        except OSError:
            self.count("failed")
            return
        with secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may go away at any time."""

    def count(self, what: str) -> None:
        """One more."""
        with self.counting:
            setattr(self, what, getattr(self, what) + 1)


class _Handler(BaseHTTPRequestHandler):
    server: TlsProxy
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.close_connection = True
        if self.headers.get("Authorization") != self.server.authorization:
            self.server.count("refused")
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.count("passed")
        self._pass_on(body)

    do_POST = do_GET = do_DELETE = _serve  # noqa: N815 - as http.server wants it

    def _pass_on(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        try:
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while block := answer.read1(1 << 16):
                self.wfile.write(block)
                self.wfile.flush()
        finally:
            connection.close()

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def tls_proxy(behind: str, context: ssl.SSLContext, authorization: str) -> Iterator[TlsProxy]:
    """Run it in a thread. ``behind`` is host:port of a server that speaks plain HTTP."""
    with TlsProxy(behind, context, authorization) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
