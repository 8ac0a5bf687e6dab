"""Episodes of other agentic-flow clients, through the real server."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from lorabank import LexicalHashingEmbedder
from lorabank.errors import CapabilityError
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_agentic_flow import open_store
from lorabank_agentic_flow.envelope import to_text
from lorabank_agentic_flow.listing import Listing
from lorabank_agentic_flow.records import Record
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.raw import Call, raw_client
from tests.agentic_flow.record_replies import SPOOF
from tests.agentic_flow.samples import MAKE, SPACE, ids, pattern

pytestmark = pytest.mark.anyio
LIMIT = 300
FOREIGN = "agentic-flow"


async def _store(call: Call, task: str, reward: float = 0.25, *, success: bool = True) -> None:
    episode = {"session_id": "other", "task": task, "reward": reward, "success": success}
    await call("reflexion_store", {**episode, "critique": "was fine", "output": "done"})


async def test_they_are_read_by_scan_and_by_search(stdio_url: str) -> None:
    embedder = LexicalHashingEmbedder(32)
    with anyio.fail_after(LIMIT):
        async with raw_client(stdio_url) as call:
            await _store(call, "fix the login page")
            await _store(call, "write a poem\nabout rain", 7.5, success=False)
        async with open_store(stdio_url) as store:
            found = await store.scan(FOREIGN, EVERYTHING, None, 10)
            assert [one.task for one in found] == ["fix the login page", "write a poem\nabout rain"]
            assert [(one.reward, one.success) for one in found] == [(0.25, True), (1.0, False)]
            assert not found[0].context.any()
            assert await store.search(FOREIGN, found[0].context, 5, EVERYTHING) == []
            assert (await store.stats(FOREIGN)).patterns == 2
            assert await store.scan(NAMESPACE, EVERYTHING, None, 10) == []
            assert len(await store.get(FOREIGN, [found[1].id, "nobody"])) == 1
        async with open_store(stdio_url, embedder=embedder) as store:
            await store.bind(embedder.space)
            query = (await embedder.embed(["a poem about rain"]))[0]
            matches = await store.search(FOREIGN, query, 1, PatternFilter(success=False))
            assert matches[0].pattern.task.startswith("write a poem")
            assert np.isfinite(matches[0].score)
            with pytest.raises(CapabilityError):
                await store.delete(FOREIGN, EVERYTHING)


async def test_their_text_cannot_spoof_an_envelope(stdio_url: str) -> None:
    envelope = to_text(Record("ffffffffffffffff-00000000", pattern(66, task="forged")))
    tail = "\n   Reward: 0.50\n   Similarity: 0.500\n\n"
    numbers = "".join(
        f"{tail}{number}. Episode {number}\n   Task: {envelope}" for number in range(1, 9)
    )
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            await store.bind(SPACE)
            await store.put_many([pattern(i) for i in range(3)])
        async with raw_client(stdio_url) as call:
            await _store(call, f"innocent{numbers}")
            await _store(call, SPOOF)
            await _store(call, f"two lines\n{envelope}")
        async with open_store(stdio_url) as store:
            assert await ids(store) == ["p000", "p001", "p002"]


async def test_a_skill_name_that_is_taken_gets_the_next_version(stdio_url: str) -> None:
    skill = MAKE.skill("s", name="everyone")
    with anyio.fail_after(LIMIT):
        for _ in range(2):
            async with open_store(stdio_url) as store:
                await store.put_skill(skill)
                await store.put_skill(skill)
        async with open_store(stdio_url) as store:
            assert await store.delete_skill(NAMESPACE, "s")
        async with raw_client(stdio_url) as call:
            library = await call("skill_search", {"task": "everyone", "k": 20})
            names = [
                line.split(". ", 1)[1] for line in library.splitlines() if ". lorabank/" in line
            ]
            assert len(set(names)) == len(names) == 5
            assert "retired: everyone" in library
            assert "user" not in library.replace("users", "")


async def test_a_big_record_comes_back(stdio_url: str) -> None:
    big = pattern(1, task="Ä" * (2 << 20))
    with anyio.fail_after(LIMIT):
        async with open_store(stdio_url) as store:
            await store.put_many([big, pattern(2)])
        async with open_store(stdio_url) as store:
            assert (await store.get(NAMESPACE, ["p001"]))[0].task == big.task


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
async def test_what_others_write_is_seen_over_http(http_address: str) -> None:
    url = f"agentic-flow+http://{http_address}/mcp?refresh=0&timeout=200"
    with anyio.fail_after(LIMIT):
        async with open_store(url) as one, open_store(url) as other:
            mine = pattern(1, namespace="shared")
            await one.put_many([mine])
            assert len(await other.get("shared", ["p001"])) == 1
            await other.delete("shared", EVERYTHING)
            assert await one.get("shared", ["p001"]) == []
            big = pattern(2, namespace="shared", task="x" * (3 << 20))
            await one.put_many([big])
            assert (await other.get("shared", ["p002"]))[0].task == big.task


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
async def test_our_own_writes_during_a_reading_are_not_taken_for_others(
    http_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"agentic-flow+http://{http_address}/mcp?refresh=0&timeout=200"
    with anyio.fail_after(LIMIT):
        async with open_store(url) as store:
            await store.put_many([pattern(1), pattern(2)])
            listing = store._client.episodes
            readings = 0

            async def episodes(limit: int, **options: Any) -> Listing:
                """After the rows were counted, and before they are read."""
                nonlocal readings
                readings += 1
                await store.put_many([pattern(10 + readings)])
                return await listing(limit, **options)

            with monkeypatch.context() as patch:
                patch.setattr(store._client, "episodes", episodes)
                store._mirror.forget()
                for _ in range(3):
                    assert await ids(store) == ["p001", "p002", "p011"]
                assert readings == 1
            async with raw_client(url) as call:
                await _store(call, "others are still seen")
                assert (await store.stats(FOREIGN)).patterns == 1
                await call("agentdb_delete", {"filters": {"session_id": "other"}})
            await store.delete(NAMESPACE, EVERYTHING)
