"""The store's own threads: who waits for what, and for how long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar

import anyio
import anyio.to_thread
import pytest

from lorabank_faiss.readers import Readers

pytestmark = pytest.mark.anyio
PATIENCE, COUNT = 20.0, 2
told: ContextVar[str] = ContextVar("told", default="nothing")


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    made = Readers(COUNT)
    yield made
    with anyio.fail_after(PATIENCE):
        await anyio.to_thread.run_sync(made.close)
    assert not any(thread.name == "lorabank_faiss reader" for thread in threading.enumerate())


class Gate:
    """A call that says when it has begun, and ends when it may."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.open.wait(PATIENCE)
        return "done"

    async def wait_until_begun(self) -> None:
        await anyio.to_thread.run_sync(self.begun.wait, PATIENCE)
        assert self.begun.is_set()


async def test_answers_and_errors_in_another_thread(readers: Readers) -> None:
    def fail() -> None:
        raise ValueError("as it is")

    assert await readers.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ValueError, match="as it is"):
        await readers.run(fail)
    assert await readers.run(lambda: 3) == 3


async def test_the_thread_used_last_is_the_next_and_sees_the_tasks_context(
    readers: Readers,
) -> None:
    told.set("this")
    found = {await readers.run(lambda: (threading.get_ident(), told.get())) for _ in range(5)}
    assert len(found) == 1
    assert next(iter(found))[1] == "this"


async def test_no_more_at_once_than_there_are_and_who_waits_can_be_cancelled(
    readers: Readers,
) -> None:
    gates, late, answers = [Gate() for _ in range(COUNT)], Gate(), []

    async def ask(gate: Gate) -> None:
        answers.append(await readers.run(gate))

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for gate in gates:
                group.start_soon(ask, gate)
            for gate in gates:
                await gate.wait_until_begun()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as waiting:
                    waiting.start_soon(ask, late)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            for gate in gates:
                gate.open.set()
    assert not late.begun.is_set()
    assert answers == ["done"] * COUNT
    late.open.set()
    assert await readers.run(late) == "done"  # its place was given back


async def test_cancelled_it_waits_for_what_has_begun(readers: Readers) -> None:
    gate, ended = Gate(), []

    async def ask() -> None:
        try:
            await readers.run(gate)
            await anyio.lowlevel.checkpoint()
        finally:
            ended.append(gate.open.is_set())

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await gate.wait_until_begun()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
                assert not ended
                gate.open.set()
    assert ended == [True]


async def test_cancelled_before_it_asks_nothing_is_called(readers: Readers) -> None:
    gate = Gate()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await readers.run(gate)
    assert not gate.begun.is_set()


def test_a_loop_that_ends_meanwhile_is_not_missed() -> None:
    gate = Gate()

    async def leave() -> Readers:
        readers = Readers(COUNT)
        task = asyncio.ensure_future(readers.run(gate))
        await asyncio.to_thread(gate.begun.wait, PATIENCE)
        task.cancel()  # asyncio's own way, which no shield keeps from it
        with pytest.raises(asyncio.CancelledError):
            await task
        return readers

    readers = asyncio.run(leave())
    gate.open.set()
    readers.close()
