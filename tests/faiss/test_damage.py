"""Damaged, stale and foreign files: a typed error or a rebuild, never wrong answers."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from lorabank.errors import (
    BankError,
    BankRejectedError,
    BankUnavailableError,
    EmbeddingSpaceError,
)
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.space import EmbeddingSpace
from lorabank_faiss import FaissStore, Settings, open_store, schema
from lorabank_faiss.schema import FILE
from tests.faiss.samples import DIM, NAMESPACE, pattern, patterns, vector
from tests.support.small_disk import small_disk

ROOT = Path(__file__).parents[2]
COUNT = 300
NOBODY = 65534
SPACE = EmbeddingSpace("test", DIM)
pytestmark = pytest.mark.anyio


def settings(directory: Path) -> Settings:
    return Settings(directory, flat_limit=50, tail_limit=10)


def snapshot(directory: Path) -> Path:
    (path,) = (directory / "index").glob("*.snapshot")
    return path


async def filled(directory: Path, seed: int = 0) -> None:
    """A closed bank with patterns and a snapshot."""
    async with open_store(settings(directory)) as store:
        await store.bind(SPACE)
        await store.put_many([pattern(f"p{n:06}", seed + n) for n in range(COUNT)])
        await store.settle()
    assert snapshot(directory).exists()


async def found(store: FaissStore) -> list[str]:
    matches = await store.search(NAMESPACE, vector(1), 1 << 20, EVERYTHING)
    return sorted(match.pattern.id for match in matches)


def flip(path: Path, position: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 0x10
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "flipped in the header": lambda path: flip(path, 0.001),
    "flipped in the arrays": lambda path: flip(path, 0.3),
    "flipped in the index": lambda path: flip(path, 0.8),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_snapshot_is_built_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(tmp_path)
    DAMAGE[damage](snapshot(tmp_path))
    caplog.clear()
    caplog.set_level(logging.INFO)
    async with open_store(settings(tmp_path)) as store:
        assert await found(store) == [f"p{n:06}" for n in range(COUNT)]
        (match,) = await store.search(NAMESPACE, vector(7), 1, EVERYTHING)
        assert (match.pattern.id, match.score) == ("p000007", 1.0)
    assert "building an index" in caplog.text
    assert ("snapshot is not used" in caplog.text) == (damage != "missing")


async def test_a_good_snapshot_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await filled(tmp_path)
    caplog.clear()
    caplog.set_level(logging.INFO)
    async with open_store(settings(tmp_path)) as store:
        assert len(await found(store)) == COUNT
    assert not caplog.records


async def test_an_old_snapshot_brings_nothing_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(tmp_path / "bank")
    shutil.copytree(tmp_path / "bank" / "index", tmp_path / "old")
    async with open_store(settings(tmp_path / "bank")) as store:
        await store.delete(NAMESPACE, PatternFilter(since=1100.0))
        await store.put_many([pattern("new", 1000)])
        await store.settle()
    shutil.rmtree(tmp_path / "bank" / "index")
    shutil.copytree(tmp_path / "old", tmp_path / "bank" / "index")
    async with open_store(settings(tmp_path / "bank")) as store:
        assert await found(store) == ["new", *(f"p{n:06}" for n in range(100))]
    assert "changes since then were pruned" in caplog.text
    assert "disagree" not in caplog.text  # it was not only noticed afterwards


async def test_a_snapshot_of_another_bank_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seed in (("one", 0), ("other", 5000)):
        await filled(tmp_path / name, seed)
    shutil.copy(snapshot(tmp_path / "other"), snapshot(tmp_path / "one"))
    async with open_store(settings(tmp_path / "one")) as store:
        (match,) = await store.search(NAMESPACE, vector(7), 1, EVERYTHING)
        assert (match.pattern.id, match.score) == ("p000007", 1.0)
    assert "of another bank" in caplog.text


async def test_a_restored_backup_is_not_answered_from_the_future(tmp_path: Path) -> None:
    await filled(tmp_path / "bank")
    shutil.copy(tmp_path / "bank" / FILE, tmp_path / "backup")
    async with open_store(settings(tmp_path / "bank")) as store:
        await store.put_many([pattern(f"later{n}", n) for n in range(100)])
        await store.settle()
    shutil.copy(tmp_path / "backup", tmp_path / "bank" / FILE)
    async with open_store(settings(tmp_path / "bank")) as store:
        await store.put_many([pattern(f"else{n:03}", 9000 + n) for n in range(200)])
        ids = await found(store)
        assert ids == sorted(
            [f"else{n:03}" for n in range(200)] + [f"p{n:06}" for n in range(COUNT)]
        )
        (match,) = await store.search(NAMESPACE, vector(9007), 1, EVERYTHING)
        assert (match.pattern.id, match.score) == ("else007", 1.0)


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1, 0.01])
async def test_a_truncated_database_is_a_typed_error(tmp_path: Path, keep: float) -> None:
    await filled(tmp_path)
    path = tmp_path / FILE
    os.truncate(path, int(keep * path.stat().st_size))
    with pytest.raises(BankRejectedError, match=r"damaged|not a database"):
        async with open_store(settings(tmp_path)) as store:
            await found(store)


async def test_a_file_that_is_no_database_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"something else entirely" * 500)
    with pytest.raises(BankRejectedError, match="not a database"):
        async with open_store(settings(tmp_path)):
            pytest.fail("it opened")


async def test_a_damaged_record_is_a_typed_error(tmp_path: Path) -> None:
    await filled(tmp_path)
    path = tmp_path / FILE
    data = path.read_bytes()
    first = pattern("p000000", 0).context.tobytes()
    assert first in data
    path.write_bytes(data.replace(first, b"\1" * len(first)))
    async with open_store(settings(tmp_path)) as store:
        with pytest.raises(BankRejectedError, match="damaged"):
            await store.get(NAMESPACE, ["p000000"])
        assert len(await store.get(NAMESPACE, ["p000001"])) == 1


async def test_a_lost_record_is_a_typed_error(tmp_path: Path) -> None:
    """As a page that was written over loses it."""
    await filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("DELETE FROM body WHERE key % 2 = 0")
    async with open_store(settings(tmp_path)) as store:
        with pytest.raises(BankRejectedError, match="not in the database"):
            await found(store)


async def test_damaged_text_in_the_schema_is_a_typed_error(tmp_path: Path) -> None:
    """SQLite quotes it in its complaint, which then is no text either."""
    await filled(tmp_path)
    path, statement = tmp_path / FILE, b"CREATE TABLE tombstone("
    data = path.read_bytes()
    assert statement in data
    path.write_bytes(data.replace(statement, b"CREATE TABLE \xf5\xf5 \xf5 \xf5tone("))
    with pytest.raises(BankRejectedError, match="damaged"):
        async with open_store(settings(tmp_path)):
            pytest.fail("it opened")


async def test_another_space_is_refused(tmp_path: Path) -> None:
    await filled(tmp_path)
    async with open_store(settings(tmp_path)) as store:
        assert store.space == SPACE
        for other in (EmbeddingSpace("other", DIM), EmbeddingSpace("test", DIM + 1)):
            with pytest.raises(EmbeddingSpaceError):
                await store.bind(other)
        assert len(await found(store)) == COUNT


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who is not root, for whom permissions count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """A directory in which nothing can be written inside the block."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    for path in paths:
        path.chmod(0o444)
    directory.chmod(0o555)
    with without_rights():
        yield
    directory.chmod(0o755)
    for path in paths:
        path.chmod(0o644)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
async def test_a_read_only_directory_is_a_typed_error() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        await filled(directory)
        with read_only(directory), pytest.raises(BankError):
            async with open_store(settings(directory)) as store:
                await store.put_many(patterns(1, start=COUNT))
        async with open_store(settings(directory)) as store:
            assert len(await found(store)) == COUNT


@pytest.mark.parametrize("good", range(2, 6))
async def test_what_can_not_be_opened_altogether_is_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    opened: list[sqlite3.Connection] = []
    connect = schema.connect

    def without_handles(path: Path, busy_timeout: float) -> sqlite3.Connection:
        if len(opened) > good:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.append(connect(path, busy_timeout))
        return opened[-1]

    monkeypatch.setattr(schema, "connect", without_handles)
    with pytest.raises(BankUnavailableError, match="Too many open files"):
        async with open_store(replace(settings(tmp_path), readers=good + 1)):
            pass
    assert len(opened) == good + 1
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def write_until_full(directory: Path, *limit: str) -> list[str]:
    """What a process said that wrote until an error."""
    command = [sys.executable, "-m", "tests.faiss.writing", str(directory), "w", "100000", *limit]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True
    )
    return result.stdout.split()


@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
async def test_a_limit_on_files_loses_nothing(tmp_path: Path) -> None:
    *acknowledged, error = await anyio.to_thread.run_sync(write_until_full, tmp_path, str(2 << 20))
    assert error == BankUnavailableError.__name__
    async with open_store(settings(tmp_path)) as store:
        assert await found(store) == sorted(acknowledged)


@pytest.mark.timeout(300)
async def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    (small := tmp_path / "small").mkdir()
    with small_disk(small):
        *acknowledged, error = await anyio.to_thread.run_sync(write_until_full, small)
        assert error == BankUnavailableError.__name__
        shutil.copytree(small, tmp_path / "saved")
    async with open_store(settings(tmp_path / "saved")) as store:
        assert await found(store) == sorted(acknowledged)
