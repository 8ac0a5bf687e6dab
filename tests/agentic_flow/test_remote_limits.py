"""What the page says that the remote can't do, shown on the real server, and our answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from lorabank.errors import BankRejectedError, BankUnavailableError
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING
from lorabank_agentic_flow import open_store
from lorabank_agentic_flow.client import MAX_REQUEST, FreshReads
from lorabank_agentic_flow.database import prepare_database
from lorabank_agentic_flow.envelope import to_text
from lorabank_agentic_flow.planning import as_episode
from lorabank_agentic_flow.records import Record
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.raw import Call, raw_client
from tests.agentic_flow.real_server import http_server
from tests.agentic_flow.samples import LATER, MAKE, ids, pattern

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning"),
]
LIMIT = 300


async def test_the_skill_library_neither_deletes_nor_gives_back_all_it_took(stdio_url: str) -> None:
    words = to_text(Record("0" * 16 + "-00000000", MAKE.full_skill("s")))
    skill = {"name": "n v1", "description": words, "code": "secret", "success_rate": 0.123456}
    with anyio.fail_after(LIMIT):
        async with raw_client(stdio_url) as call:
            await call("skill_create", skill)
            found = await call("skill_search", {"task": "words", "k": 9})
            assert found.endswith(f"1. n v1\n   {words}\n   Success: 12.3%")  # no id, no code
            with pytest.raises(BankRejectedError, match="UNIQUE"):
                await call("skill_create", skill | {"description": "other words"})
            with pytest.raises(BankRejectedError, match="Invalid table: skills"):
                await call("agentdb_delete_batch", {"ids": [1], "table": "skills"})
            await call("agentdb_delete_batch", {"ids": [1]})
            await call("agentdb_delete", {"id": 1})
            await call("agentdb_delete", {"filters": {"before_timestamp": LATER}})
            assert (await call("db_stats", {})).endswith("Skills: 1")


async def test_a_deleted_skill_leaves_words_but_neither_weights_nor_users(stdio_url: str) -> None:
    skill = replace(MAKE.full_skill("s"), user_keys=("0123abcd", "89abcdef"))
    assert skill.prior is not None
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            await store.put_skill(skill)
            assert await store.delete_skill(NAMESPACE, "s")
        async with raw_client(stdio_url) as call:
            assert (await call("reflexion_retrieve", {"task": "x", "k": 9})).startswith(
                "🔍 Retrieved 0 episodes"
            )
            words = await call("skill_search", {"task": skill.name, "k": 9})
            assert "retired: " in words
            assert not any(user in words for user in skill.user_keys)
            assert max(map(len, words.splitlines())) < 400  # no room for weights


async def test_the_read_cache_gives_back_what_is_deleted_and_we_go_around_it(
    stdio_url: str,
) -> None:
    question = {"task": "x", "k": 9}
    with anyio.fail_after(LIMIT):
        async with raw_client(stdio_url) as call:
            await _store(call, "here")
            assert "here" in await call("reflexion_retrieve", question)
            await call("agentdb_delete", {"filters": {"session_id": "s"}})
            assert "here" in await call("reflexion_retrieve", question)  # for five minutes
            fresh = FreshReads().next()
            assert "here" not in await call("reflexion_retrieve", question | {"min_reward": fresh})
            await _store(call, "there", reward=-1e6)
            fresh = FreshReads().next()
            assert "there" in await call("reflexion_retrieve", question | {"min_reward": fresh})


async def _store(call: Call, task: str, reward: float = 0.5) -> None:
    episode = {"session_id": "s", "task": task, "reward": reward, "success": True}
    await call("reflexion_store", episode)


def test_a_value_that_goes_around_the_cache_is_used_again_only_when_it_has_expired() -> None:
    now = 0.0
    reads = FreshReads(lambda: now)
    first = [reads.next() for _ in range(5)]
    assert len(set(first)) == 5
    assert max(first) < -1e8
    now = 300.0
    assert reads.next() not in first
    now = 311.0
    assert {reads.next() for _ in range(5)} == set(first)


def _of_size(size: int) -> Pattern:
    """A pattern whose request has just this many bytes, or a few less."""
    empty = as_episode(Record("0" * 16 + "-00000000", pattern(1, task="x" * 400))).size
    return pattern(1, task="x" * (400 + (size - empty) * 3 // 4 - 8))


async def test_the_largest_request_passes_the_real_proxy_and_a_larger_one_does_not(
    http_address: str, server_script: Path, tmp_path: Path
) -> None:
    database = tmp_path / "large.db"
    prepare_database(database, server_script)
    largest = _of_size(MAX_REQUEST)
    size = as_episode(Record("0" * 16 + "-00000000", largest)).size
    assert MAX_REQUEST - 64 < size <= MAX_REQUEST
    # A server of its own: such requests keep it busy for a while.
    with anyio.fail_after(LIMIT), http_server(database) as address:
        url = f"agentic-flow+http://{address}/mcp?timeout=200"
        async with open_store(url) as store:
            await store.put_many([largest])
            store._mirror.forget()
            (found,) = await store.get(NAMESPACE, ["p001"])
            assert found.task == largest.task
            assert await store.delete(NAMESPACE, EVERYTHING) == 1
            with pytest.raises(BankRejectedError, match="takes at most"):
                await store.put_many([_of_size(MAX_REQUEST + 128)])
        async with raw_client(url.replace("=200", "=5")) as call:
            with pytest.raises(BankUnavailableError):
                await _store(call, "x" * (MAX_REQUEST + 8192))


async def test_reads_share_one_load(stdio_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            await store.put_many([pattern(i) for i in range(3)])
            asked = 0
            listing = store._client.episodes

            async def episodes(limit: int, **options: Any) -> Any:
                nonlocal asked
                asked += 1
                return await listing(limit, **options)

            monkeypatch.setattr(store._client, "episodes", episodes)
            store._mirror.forget()
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ids, store)
            assert asked == 1
            assert await ids(store) == ["p000", "p001", "p002"]
            assert asked == 1  # and warm ones ask for nothing


async def test_a_load_that_fails_fails_for_all_that_wait_and_not_for_the_next(
    stdio_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            await store.put_many([pattern(1)])
            failed = 0

            async def refuse(limit: int, **options: Any) -> Any:
                await anyio.lowlevel.checkpoint()
                raise BankUnavailableError("not now")

            async def read() -> None:
                nonlocal failed
                with pytest.raises(BankUnavailableError, match="not now"):
                    await ids(store)
                failed += 1

            store._mirror.forget()
            with monkeypatch.context() as patch:
                patch.setattr(store._client, "episodes", refuse)
                async with anyio.create_task_group() as group:
                    for _ in range(5):
                        group.start_soon(read)
            assert failed == 5
            assert await ids(store) == ["p001"]
