"""Fixtures over the real server. Without Node.js the tests say so and skip; in CI they fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from lorabank_agentic_flow.database import prepare_database
from tests.agentic_flow import real_server


@pytest.fixture(scope="session")
def server_script() -> Path:
    """agentdb's MCP server, installed if need be."""
    return _or_skip(real_server.server_script)


@pytest.fixture(scope="session")
def native_server_script() -> Path:
    """The same beside better-sqlite3, compiled if need be."""
    return _or_skip(real_server.native_server_script)


@pytest.fixture
def stdio_url(server_script: Path, tmp_path: Path) -> str:
    """A server of our own on a new database."""
    return f"agentic-flow+stdio://{tmp_path}/agentdb.db?server={server_script}&timeout=200"


@pytest.fixture
def native_url(native_server_script: Path, tmp_path: Path) -> str:
    """A server of our own on a new database, kept by better-sqlite3."""
    return f"agentic-flow+stdio://{tmp_path}/agentdb.db?server={native_server_script}&timeout=200"


@pytest.fixture(scope="session")
def http_address(server_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of one server for all tests; `lorabank` clients leave it empty."""
    _or_skip(real_server.proxy_script)
    database = tmp_path_factory.mktemp("http") / "agentdb.db"
    prepare_database(database, server_script)
    with real_server.http_server(database) as address:
        yield address


def _or_skip(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except real_server.MissingError as exc:
        return _give_up(f"the real agentic-flow server is not to be had: {exc}")


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
