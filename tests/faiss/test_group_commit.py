"""Cancelling a write that another task carries to the disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from lorabank_faiss.writing import GroupCommit, Job

pytestmark = pytest.mark.anyio
LIMIT = 20


class HeldWriter:
    """Commits when it is let go, each time anew."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)
        self.committed: list[int] = []

    def commit(self, jobs: Sequence[Job[object]]) -> None:
        self.begun.release()
        assert self.let_go.acquire(timeout=LIMIT)
        self.committed.append(len(jobs))
        for job in jobs:
            job.finish()


async def begun(writer: HeldWriter) -> None:
    assert await anyio.to_thread.run_sync(lambda: writer.begun.acquire(timeout=LIMIT))


async def test_a_cancelled_write_that_another_task_carries_is_waited_for() -> None:
    writer = HeldWriter()
    commits = GroupCommit(writer)  # type: ignore[arg-type]
    ended: list[int] = []

    async def cancelled(scope: anyio.CancelScope) -> None:
        with scope:
            await commits.run(lambda _: None)
        ended.append(len(writer.committed))

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()
            tasks.start_soon(commits.run, lambda _: None)
            await begun(writer)
            tasks.start_soon(commits.run, lambda _: None)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(cancelled, scope)
            await anyio.wait_all_tasks_blocked()
            writer.let_go.release()
            await begun(writer)  # the second carries the third
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not ended, "it returned while its write was still to come"
            writer.let_go.release()
    assert writer.committed == [1, 2]
    assert ended == [2]


async def test_a_cancelled_write_whose_turn_has_not_come_never_happens() -> None:
    writer = HeldWriter()
    commits = GroupCommit(writer)  # type: ignore[arg-type]
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commits.run, lambda _: None)
            await begun(writer)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await commits.run(lambda _: None)
            assert scope.cancelled_caught
            writer.let_go.release()
    assert writer.committed == [1]
