"""A remote behind mcp-proxy that could not be read any more, and how it is kept from that."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from lorabank.errors import BankError, BankRejectedError
from lorabank.types.query import PatternFilter
from lorabank_agentic_flow import open_store
from lorabank_agentic_flow.database import prepare_database
from lorabank_agentic_flow.room import Mark, Room
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.processes import children, ended
from tests.agentic_flow.real_server import http_server
from tests.agentic_flow.samples import ids, pattern

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning"),
]
LIMIT = 300
# Three of these fit into 10 MiB: in an envelope a text takes four bytes for three.
LARGE = "x" * 2_400_000
LEAVING = "f" * 32


async def test_what_could_not_be_read_any_more_is_refused_and_the_rest_stays_readable(
    http_address: str, server_script: Path, tmp_path: Path
) -> None:
    database = tmp_path / "full.db"
    prepare_database(database, server_script)
    # A server of its own: this must not end the others'.
    with anyio.fail_after(LIMIT), http_server(database) as address:
        async with open_store(f"agentic-flow+http://{address}/mcp?timeout=60") as store:
            await store.put_many([pattern(0, task=LARGE, user_key=LEAVING)])
            await store.put_many([pattern(1, task=LARGE)])
            await store.put_many([pattern(2, task=LARGE)])
            with pytest.raises(BankRejectedError, match=r"9\.\d MiB: .* more than 10 MiB"):
                await store.put_many([pattern(3, task=LARGE)])
            store._mirror.forget()
            assert await ids(store) == ["p000", "p001", "p002"]
            await store.put_many([pattern(4)])  # a small one fits
            assert await store.delete(NAMESPACE, PatternFilter(user_key=LEAVING)) == 1
            await store.put_many([pattern(3, task=LARGE)])
            store._mirror.forget()
            assert await ids(store) == ["p001", "p002", "p003", "p004"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # it is about the proxy
async def test_a_longer_reply_makes_the_real_proxy_end_the_server(
    http_address: str, server_script: Path, tmp_path: Path
) -> None:
    database = tmp_path / "too-full.db"
    prepare_database(database, server_script)
    before = set(children(os.getpid()))
    with anyio.fail_after(LIMIT), http_server(database) as address:
        (proxy,) = set(children(os.getpid())) - before
        (node,) = children(proxy)
        url = f"agentic-flow+http://{address}/mcp?timeout=200&reply_mb=0"
        async with open_store(url) as store, anyio.create_task_group() as group:
            for number in range(4):
                await store.put_many([pattern(number, task=LARGE)])
            store._mirror.forget()

            async def read() -> None:
                with suppress(BankError):
                    await ids(store)

            group.start_soon(read)
            await ended(node)
            group.cancel_scope.cancel()


def test_what_is_stored_while_it_is_read_counts_besides() -> None:
    room = Room(1 << 20)
    assert not room.uncertain
    assert room.take(500_000)
    begun = room.mark
    assert room.take(300_000)
    room.read(400_000, begun)
    assert room.nbytes == 700_000
    assert room.uncertain
    assert not room.take(350_000)
    assert room.nbytes == 700_000
    room.read(700_000, room.mark)
    assert not room.uncertain
    room.removed()
    assert room.uncertain
    assert room.mark == Mark(800_000, 1)


def test_without_a_limit_everything_fits() -> None:
    assert Room(None).take(1 << 40)
