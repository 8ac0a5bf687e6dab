"""A tiny MCP server over HTTP, in a thread, for what the real one can't be brought to do.

``echo`` answers with the text that it is given. Answers are streams of events; as many as there are
``breaks`` begin with one of those, and end.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeHttpServer(ThreadingHTTPServer):
    """Listens on a loopback port.

    Attributes:
        texts: what ``echo`` was given, in the order of arrival.
        breaks: what streams begin with that break off, the next first.
        sessions: how many there were.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.texts: list[str] = []
        self.breaks: list[bytes] = []
        self.sessions = 0
        self.counting = threading.Lock()

    @property
    def url(self) -> str:
        """Of the store."""
        return f"agentic-flow+http://127.0.0.1:{self.server_address[1]}/mcp"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may go away at any time."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeHttpServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say(405)

    def do_DELETE(self) -> None:
        self._say(200)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in message:
            self._say(202)
            return
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Mcp-Session-Id", "one")
        self.send_header("Connection", "close")
        self.end_headers()
        body = self._answer(message)
        self.wfile.write(body)
        self.wfile.flush()

    def _answer(self, message: dict[str, Any]) -> bytes:
        result: dict[str, Any] = {}
        if message["method"] == "initialize":
            with self.server.counting:
                self.server.sessions += 1
            version = message["params"]["protocolVersion"]
            info = {"name": "fake", "version": "1"}
            result = {"protocolVersion": version, "capabilities": {}, "serverInfo": info}
        elif message["method"] == "tools/list":
            result = {"tools": []}
        elif message["method"] == "tools/call":
            text = message["params"]["arguments"]["text"]
            with self.server.counting:
                self.server.texts.append(text)
                if self.server.breaks:
                    return self.server.breaks.pop(0)
            result = {"content": [{"type": "text", "text": text}]}
        answered = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        return b"event: message\ndata: " + json.dumps(answered).encode() + b"\n\n"

    def _say(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def fake_http_server() -> Iterator[FakeHttpServer]:
    """Run it in a thread."""
    with FakeHttpServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
