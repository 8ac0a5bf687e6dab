"""The backend obeys every law, against the real server, over stdio and over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from lorabank_agentic_flow import open_store
from lorabank_conformance import Address, Opener, PatternStoreConformance
from tests.agentic_flow.raw import raw_client
from tests.agentic_flow.samples import LATER


class TestStdio(PatternStoreConformance):
    """A server of our own per test."""

    # Opening takes a second: a Node.js process starts.
    histories: ClassVar[int] = 3
    shrinks: ClassVar[bool] = False

    @pytest.fixture
    def opener(self, stdio_url: str, tmp_path: Path) -> Opener:
        """The same database again and again."""
        self.address = Address(stdio_url, tmp_path)
        return lambda: open_store(stdio_url)


@pytest.mark.campaign
class TestStdioOnBetterSqlite(TestStdio):
    """The same on the storage that writes at once."""

    @pytest.fixture
    def opener(self, native_url: str, tmp_path: Path) -> Opener:
        """The same database again and again."""
        self.address = Address(native_url, tmp_path)
        return lambda: open_store(native_url)


# On trio the MCP SDK leaves the HTTP library's response generators to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
class TestHttp(PatternStoreConformance):
    """Someone else's server, emptied before each test."""

    histories: ClassVar[int] = 10
    shrinks: ClassVar[bool] = False

    @pytest.fixture
    def opener(self, http_address: str, tmp_path: Path) -> Opener:
        """The same server again and again."""
        url = f"agentic-flow+http://{http_address}/mcp?timeout=200"
        anyio.run(_empty, url)
        self.address = Address(url, tmp_path)
        return lambda: open_store(url)


async def _empty(url: str) -> None:
    with anyio.fail_after(300):
        async with raw_client(url) as call:
            await call("agentdb_delete", {"filters": {"before_timestamp": LATER}})
