"""Several tasks, stores and processes on one directory."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from lorabank.errors import BankUnavailableError, EmbeddingSpaceError
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import FaissStore, Settings, open_store
from lorabank_faiss.schema import FILE
from tests.faiss.samples import NAMESPACE, pattern, patterns, vector

ROOT = Path(__file__).parents[2]
PROCESSES, EACH = 8, 100
pytestmark = pytest.mark.anyio


async def found(store: FaissStore, k: int = 1 << 20) -> list[str]:
    matches = await store.search(NAMESPACE, vector(1), k, EVERYTHING)
    return sorted(match.pattern.id for match in matches)


def run_writers(directory: Path) -> list[str]:
    """Ids that processes said they had written, all at once."""
    command = [sys.executable, "-m", "tests.faiss.writing", str(directory)]
    children = [
        subprocess.Popen([*command, str(n), str(EACH)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for n in range(PROCESSES)
    ]
    said = [child.communicate(timeout=240)[0].split() for child in children]
    assert not any(child.returncode for child in children)
    return [one for ids in said for one in ids]


@pytest.mark.timeout(300)
async def test_eight_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    said = await anyio.to_thread.run_sync(run_writers, tmp_path)
    assert len(said) == PROCESSES * EACH
    async with open_store(Settings(tmp_path)) as store:
        assert await found(store) == sorted(said)


@pytest.mark.parametrize("flat_limit", [1000, 20])
async def test_stores_see_each_others_changes_at_once(tmp_path: Path, flat_limit: int) -> None:
    settings = Settings(tmp_path, flat_limit=flat_limit, tail_limit=5)
    async with open_store(settings) as one, open_store(settings) as other:
        await one.put_many(patterns(60))
        assert await found(other) == await found(one)
        await other.settle()
        await other.delete(NAMESPACE, PatternFilter(since=1030.0))
        await other.put_many([pattern("p000001", 500)])
        assert await found(one) == [f"p{n:06}" for n in range(30)]
        (nearest,) = await one.search(NAMESPACE, vector(500), 1, EVERYTHING)
        assert (nearest.pattern.id, nearest.score) == ("p000001", 1.0)


async def test_many_tasks_are_committed_together(tmp_path: Path) -> None:
    refused = []
    async with open_store(Settings(tmp_path)) as store:

        async def put(number: int) -> None:
            await store.put_many([pattern(f"{number:03}", number)])

        async def put_wrong() -> None:
            try:
                await store.put_many([pattern("wrong", context=vector(0, dim=3))])
            except EmbeddingSpaceError as exc:
                refused.append(exc)

        await put(0)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for number in range(1, 100):
                    tasks.start_soon(put, number)
                tasks.start_soon(put_wrong)
        assert len(refused) == 1
        assert await found(store) == [f"{number:03}" for number in range(100)]


async def test_a_busy_database_is_a_typed_error(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path, busy_timeout=0.1)) as store:
        await store.put_many(patterns(3))
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BankUnavailableError, match="busy"):
            await store.put_many([pattern("late")])
        assert len(await found(store)) == 3
        other.execute("ROLLBACK")
        other.close()
        await store.put_many([pattern("late")])
        assert len(await found(store)) == 4


async def test_a_spaces_first_bind_elsewhere_counts(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as one, open_store(Settings(tmp_path)) as other:
        await one.put_many(patterns(1))
        with pytest.raises(EmbeddingSpaceError):
            await other.search(NAMESPACE, vector(0, dim=5), 1, EVERYTHING)
        with pytest.raises(EmbeddingSpaceError):
            await other.put_many([pattern("other", context=vector(0, dim=5))])
