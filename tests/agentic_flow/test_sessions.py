"""One session to the real server: many calls at once, and what the server says beside them."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from lorabank_agentic_flow import open_store
from lorabank_agentic_flow.client import FreshReads
from tests.agentic_flow.raw import raw_client

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning"),
]
LIMIT = 300
MANY = 60


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_of_many_calls_over_one_session_each_gets_its_own_answer(
    transport: str, request: pytest.FixtureRequest
) -> None:
    if transport == "stdio":
        url = str(request.getfixturevalue("stdio_url"))
    else:
        url = f"agentic-flow+http://{request.getfixturevalue('http_address')}/mcp?timeout=200"
    replies: dict[int, str] = {}
    reads = FreshReads()
    with anyio.fail_after(LIMIT):
        async with raw_client(url) as call:

            async def store_and_find(number: int) -> None:
                text = f"text {number}."
                episode = {"session_id": "many", "task": text, "reward": 0.5, "success": True}
                await call("reflexion_store", episode)
                # Without a model, only the same text is as similar as can be.
                question: dict[str, Any] = {"task": text, "k": 1, "min_reward": reads.next()}
                replies[number] = await call("reflexion_retrieve", question)

            try:
                async with anyio.create_task_group() as group:
                    for number in range(MANY):
                        group.start_soon(store_and_find, number)
            finally:
                await call("agentdb_delete", {"filters": {"session_id": "many"}})
    assert sorted(replies) == list(range(MANY))
    for number, reply in replies.items():
        assert f"Task: text {number}.\n" in reply


async def test_what_the_server_says_on_stderr_is_in_the_log(
    stdio_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(LIMIT), caplog.at_level(logging.DEBUG, "lorabank_agentic_flow.server"):
        async with open_store(stdio_url):
            pass
    said = [record.getMessage() for record in caplog.records if record.name.endswith(".server")]
    assert any("AgentDB" in text for text in said), said
