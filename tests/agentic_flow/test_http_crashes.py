"""Someone else's server that dies: we come back when it does, with what it forgot."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from lorabank.errors import BankRejectedError, BankUnavailableError
from lorabank_agentic_flow import open_store
from lorabank_agentic_flow.database import prepare_database
from tests.agentic_flow.processes import children, kill
from tests.agentic_flow.raw import raw_client
from tests.agentic_flow.real_server import free_port, http_server
from tests.agentic_flow.samples import ids, pattern

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning"),
]
LIMIT = 300


async def test_a_server_that_was_killed_and_started_again(
    http_address: str, server_script: Path, tmp_path: Path
) -> None:
    database, port = tmp_path / "a.db", free_port()
    prepare_database(database, server_script)
    url = f"agentic-flow+http://127.0.0.1:{port}/mcp?timeout=200"
    before = set(children(os.getpid()))
    with anyio.fail_after(LIMIT), http_server(database, port):
        (proxy,) = set(children(os.getpid())) - before
        async with open_store(url) as store:
            await store.put_many([pattern(1), pattern(2)])
            for process in (*children(proxy), proxy):
                await kill(process)
            with http_server(database, port):
                await store.put_many([pattern(3)])
                assert await ids(store) == ["p001", "p002", "p003"]
                async with open_store(url) as other:
                    assert await ids(other) == ["p001", "p002", "p003"]


async def test_a_server_that_is_killed_in_the_middle_of_a_call(
    server_script: Path, tmp_path: Path
) -> None:
    database, port = tmp_path / "a.db", free_port()
    prepare_database(database, server_script)
    url = f"agentic-flow+http://127.0.0.1:{port}/mcp?timeout={10 * LIMIT}"
    before = set(children(os.getpid()))
    with anyio.fail_after(LIMIT), http_server(database, port):
        (proxy,) = set(children(os.getpid())) - before
        async with open_store(url) as store:
            await store.put_many([pattern(1)])
            (node,) = children(proxy)
            os.kill(node, signal.SIGSTOP)  # so that no call is answered
            with ExitStack() as stack:
                async with anyio.create_task_group() as group:
                    group.start_soon(store.put_many, [pattern(2)])
                    group.start_soon(store.put_many, [pattern(3), pattern(4)])
                    await anyio.wait_all_tasks_blocked()
                    for process in (proxy, node):
                        await kill(process)
                    stack.enter_context(http_server(database, port))
                assert await ids(store) == ["p001", "p002", "p003", "p004"]


async def test_nobody_there() -> None:
    url = f"agentic-flow+http://127.0.0.1:{free_port()}/mcp"
    with anyio.fail_after(LIMIT), pytest.raises(BankUnavailableError, match="can't be reached"):
        async with open_store(url):
            pass


async def test_an_address_that_is_no_mcp_server(http_address: str) -> None:
    url = f"agentic-flow+http://{http_address}/nothing"
    with anyio.fail_after(LIMIT), pytest.raises(BankRejectedError, match="404"):
        async with open_store(url):
            pass


async def test_an_episode_that_poisons_the_remote_is_named(stdio_url: str) -> None:
    poison = {"session_id": "x", "task": "t", "reward": "high", "success": True}
    with anyio.fail_after(LIMIT):
        async with raw_client(stdio_url) as call:
            await call("reflexion_store", poison)
        with pytest.raises(BankRejectedError, match="toFixed is not a function"):
            async with open_store(stdio_url):
                pass
