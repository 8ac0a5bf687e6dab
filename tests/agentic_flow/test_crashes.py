"""Killed servers and killed clients: nothing acknowledged is lost, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from lorabank.errors import BankUnavailableError, InvalidInputError
from lorabank.types.query import PatternFilter
from lorabank_agentic_flow import open_store
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.processes import ended, kill, node_of, parent_of
from tests.agentic_flow.samples import MAKE, SPACE, ids, pattern

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
LIMIT = 60


async def test_writes_that_a_killed_server_forgot_are_stored_again(
    stdio_url: str, tmp_path: Path
) -> None:
    database = tmp_path / "agentdb.db"
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            await store.bind(SPACE)
            await store.put_many([pattern(1), pattern(2)])
            await store.put_many([pattern(3)])
            await store.put_skill(MAKE.full_skill("skill"))
            await kill(node_of(database))  # sql.js has saved nothing yet
            await store.put_many([pattern(4)])
            assert await ids(store) == ["p001", "p002", "p003", "p004"]
        async with open_store(stdio_url) as store:
            assert await ids(store) == ["p001", "p002", "p003", "p004"]
            assert store.space == SPACE
            assert [skill.id for skill in await store.list_skills(NAMESPACE)] == ["skill"]


async def test_what_was_deleted_stays_deleted_after_a_kill(stdio_url: str, tmp_path: Path) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            await store.put_many([pattern(i, user_key=f"u{i % 2}") for i in range(6)])
        async with open_store(stdio_url) as store:
            assert await store.delete(NAMESPACE, PatternFilter(user_key="u1")) == 3
            await store.put_many([pattern(0, task="newer")])
            await kill(node_of(tmp_path / "agentdb.db"))
            assert await ids(store) == ["p000", "p002", "p004"]
            await store.put_many([pattern(9)])
        async with open_store(stdio_url) as store:
            assert await ids(store) == ["p000", "p002", "p004", "p009"]
            assert (await store.get(NAMESPACE, ["p000"]))[0].task == "newer"


async def test_a_call_is_sent_again_when_the_server_is_killed_in_the_middle_of_it(
    stdio_url: str, tmp_path: Path
) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url + "&timeout=40") as store:
            await store.put_many([pattern(1)])
            node = node_of(tmp_path / "agentdb.db")
            os.kill(node, signal.SIGSTOP)  # it takes the call, but does not answer
            async with anyio.create_task_group() as group:
                group.start_soon(store.put_many, [pattern(2)])
                group.start_soon(store.put_many, [pattern(3), pattern(4)])
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
                await kill(node)
            assert await ids(store) == ["p001", "p002", "p003", "p004"]


async def test_no_orphan_when_our_process_is_killed(stdio_url: str, tmp_path: Path) -> None:
    program = (
        "import anyio, sys\n"
        "from lorabank_agentic_flow import open_store\n"
        "async def main():\n"
        "    async with open_store(sys.argv[1]):\n"
        "        print('open', flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    command = [sys.executable, "-c", program, stdio_url]
    with anyio.fail_after(LIMIT):
        process = await anyio.open_process(command, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        assert b"open" in await process.stdout.receive()
        node = node_of(tmp_path / "agentdb.db", process.pid)
        process.kill()
        await process.wait()
        await process.aclose()
        await ended(node)


async def test_no_orphan_when_the_supervisor_is_killed(stdio_url: str, tmp_path: Path) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            node = node_of(tmp_path / "agentdb.db")
            os.kill(parent_of(node), signal.SIGKILL)
            await ended(node)
            await store.put_many([pattern(1)])
            assert await ids(store) == ["p001"]


async def test_two_owners_of_one_database_are_refused(
    stdio_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url):
            with pytest.raises(BankUnavailableError, match="another process runs a server"):
                async with open_store(stdio_url):
                    pass


async def test_a_full_journal_makes_the_server_save(stdio_url: str, tmp_path: Path) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            store._journal._limit = 4096
            first = node_of(tmp_path / "agentdb.db")
            await store.put_many([pattern(i) for i in range(3)])
            await ended(first)  # stopped in an orderly way
            await store.put_many([pattern(9)])
            assert await ids(store) == ["p000", "p001", "p002", "p009"]


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"agentic-flow+stdio://{tmp_path}/a.db?server={tmp_path}/nothing.js"
    with anyio.fail_after(LIMIT), pytest.raises(InvalidInputError, match="agentdb-mcp-server"):
        async with open_store(url):
            pass
