"""Over HTTP each message is posted once, and an answer that breaks off is asked for again."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from tests.agentic_flow.fake_http_server import FakeHttpServer, fake_http_server
from tests.agentic_flow.raw import raw_client

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning"),
]
LIMIT = 200
MANY = 100


@pytest.fixture
def server() -> Iterator[FakeHttpServer]:
    """It echoes."""
    with fake_http_server() as running:
        yield running


async def test_of_many_calls_at_once_each_is_posted_once_and_gets_its_own_answer(
    server: FakeHttpServer,
) -> None:
    texts = [f"call {number}" for number in range(MANY)]
    answers: dict[str, str] = {}
    with anyio.fail_after(LIMIT):
        async with raw_client(f"{server.url}?timeout={10 * LIMIT}") as call:

            async def ask(text: str) -> None:
                answers[text] = await call("echo", {"text": text})

            async with anyio.create_task_group() as group:
                for text in texts:
                    group.start_soon(ask, text)
    assert answers == {text: text for text in texts}
    assert sorted(server.texts) == sorted(texts)
    assert server.sessions == 1


async def test_a_call_that_is_given_up_does_not_hold_the_next_ones_up(
    server: FakeHttpServer,
) -> None:
    with anyio.fail_after(LIMIT):
        async with raw_client(f"{server.url}?timeout={10 * LIMIT}") as call:
            async with anyio.create_task_group() as group:
                for number in range(MANY):
                    group.start_soon(call, "echo", {"text": f"given up {number}"})
                await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            assert await call("echo", {"text": "next"}) == "next"


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"id: 7\ndata: \n\n",
        b'id: 7\nevent: message\ndata: {"jsonrpc": "2.0", "id"',
    ],
    ids=["at once", "after an event to resume from", "within the answer"],
)
async def test_an_answer_that_breaks_off_is_asked_for_again_long_before_the_time_limit(
    server: FakeHttpServer, written: bytes
) -> None:
    server.breaks = [written, written]
    with anyio.fail_after(LIMIT):
        async with raw_client(f"{server.url}?timeout={10 * LIMIT}") as call:
            assert await call("echo", {"text": "a"}) == "a"
    assert server.texts == ["a"] * 3
    assert server.sessions == 3
