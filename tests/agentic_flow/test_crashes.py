"""Killed servers and killed clients: nothing acknowledged is lost, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import Process

from lorabank.errors import BankUnavailableError, InvalidInputError
from lorabank.types.query import PatternFilter
from lorabank_agentic_flow import open_store
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.processes import ended, kill, node_of, parent_of
from tests.agentic_flow.samples import MAKE, SPACE, ids, pattern

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(1200),  # the first one compiles better-sqlite3, if that was never done
]
LIMIT = 300
ROOT = Path(__file__).parents[2]
# Opens a store, stores what its arguments name (deletes it, after a "-"), waits to be killed.
CLIENT = """
import anyio, sys
from lorabank_agentic_flow import open_store
from lorabank.types.query import PatternFilter
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow import samples

def pattern(number):
    return samples.pattern(number, user_key=str(number))

async def main():
    async with open_store(sys.argv[1]) as store:
        numbers = [int(number) for number in sys.argv[2:]]
        await store.put_many([pattern(number) for number in numbers if number > 0])
        for number in numbers:
            if number < 0:
                await store.delete(NAMESPACE, PatternFilter(user_key=str(-number)))
        print("stored", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture(params=["sql.js", "better-sqlite3"])
def either_url(request: pytest.FixtureRequest) -> str:
    """A server of our own on a new database, on either storage."""
    name = "stdio_url" if request.param == "sql.js" else "native_url"
    return str(request.getfixturevalue(name))


@asynccontextmanager
async def client(url: str, *numbers: str) -> AsyncIterator[Process]:
    """Another process that has stored patterns of these numbers."""
    command = [sys.executable, "-c", CLIENT, url, *numbers]
    async with await anyio.open_process(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert b"stored" in await process.stdout.receive()
        yield process


async def test_writes_that_a_killed_server_forgot_are_stored_again(
    either_url: str, tmp_path: Path
) -> None:
    database = tmp_path / "agentdb.db"
    with anyio.fail_after(LIMIT):
        async with open_store(either_url) as store:
            await store.bind(SPACE)
            await store.put_many([pattern(1), pattern(2)])
            await store.put_many([pattern(3)])
            await store.put_skill(MAKE.full_skill("skill"))
            await kill(node_of(database))  # sql.js has saved nothing yet
            await store.put_many([pattern(4)])
            assert await ids(store) == ["p001", "p002", "p003", "p004"]
        async with open_store(either_url) as store:
            assert await ids(store) == ["p001", "p002", "p003", "p004"]
            assert store.space == SPACE
            assert [skill.id for skill in await store.list_skills(NAMESPACE)] == ["skill"]


async def test_what_was_deleted_stays_deleted_after_a_kill(either_url: str, tmp_path: Path) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(either_url) as store:
            await store.put_many([pattern(i, user_key=f"u{i % 2}") for i in range(6)])
        async with open_store(either_url) as store:
            assert await store.delete(NAMESPACE, PatternFilter(user_key="u1")) == 3
            await store.put_many([pattern(0, task="newer")])
            await kill(node_of(tmp_path / "agentdb.db"))
            assert await ids(store) == ["p000", "p002", "p004"]
            await store.put_many([pattern(9)])
        async with open_store(either_url) as store:
            assert await ids(store) == ["p000", "p002", "p004", "p009"]
            assert (await store.get(NAMESPACE, ["p000"]))[0].task == "newer"


async def test_a_call_is_sent_again_when_the_server_is_killed_in_the_middle_of_it(
    stdio_url: str, tmp_path: Path
) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
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


async def test_no_orphan_when_our_process_is_killed(either_url: str, tmp_path: Path) -> None:
    with anyio.fail_after(LIMIT):
        async with client(either_url, "1") as process:
            node = node_of(tmp_path / "agentdb.db", process.pid)
            process.kill()
            await process.wait()
            await ended(node)
        async with open_store(either_url) as store:
            assert await ids(store) == ["p001"]  # the server was stopped, and so it saved


async def test_acknowledged_writes_survive_client_and_server_killed_together(
    either_url: str, tmp_path: Path
) -> None:
    with anyio.fail_after(LIMIT):
        for numbers in (("1", "2"), ("3",)):  # what was put back is kept, too
            async with client(either_url, *numbers) as process:
                await kill_together(process, tmp_path / "agentdb.db")
        async with open_store(either_url) as store:
            assert await ids(store) == ["p001", "p002", "p003"]
        assert not (tmp_path / "agentdb.db.lorabank-journal").exists()  # all of it is saved
        async with client(either_url, "-2") as process:
            await kill_together(process, tmp_path / "agentdb.db")
        async with open_store(either_url) as store:
            assert await ids(store) == ["p001", "p003"]


async def kill_together(process: Process, database: Path) -> None:
    """Kill a client, its server and the supervisor: nobody is left to save anything."""
    node = node_of(database, process.pid)
    supervisor = parent_of(node)
    for pid in (node, supervisor, process.pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (supervisor, process.pid, node):
        await kill(pid)
    await process.wait()


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
