"""Files that are not as they should be: a typed error that says so, and nothing made worse."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from lorabank.config import ReplayConfig
from lorabank.errors import CodecError, StoreClosedError, StoreError, StoreUnavailableError
from lorabank.stores import AdapterStore, PopulationRecord, open_adapter_store
from lorabank.stores.sqlite import checkpoints, schema
from lorabank.types.space import EmbeddingSpace
from lorabank_conformance.adapters.base import Adapters, key_of
from lorabank_conformance.samples import Samples

BUILD = Adapters(Samples(EmbeddingSpace("files", 8)))
USERS = [f"user{i:03}" for i in range(200)]


def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def fill(path: Path) -> None:
    async with open_adapter_store(url(path)) as store, anyio.create_task_group() as tasks:
        for i, user in enumerate(USERS):
            tasks.start_soon(store.commit, BUILD.change(user, i, episodes=(user,), seen=2))


async def look(store: AdapterStore) -> int:
    """Read everything; how many adapters were read. Each is the right one."""
    for i, user in enumerate(USERS):
        found = await store.get(user)
        assert found is not None
        assert (found.adapter.user_id, found.adapter.version) == (user, i)
    assert sorted(e.pattern.id for e in await store.queued(1000)) == USERS
    assert len(await store.experiences(0.0)) == len(USERS)
    return len(USERS)


async def test_the_log_begins_anew_beside_the_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit writes some pages; all of them together would make the log ten times as long."""
    monkeypatch.setattr(checkpoints, "EVERY", 10)
    path, log = tmp_path / "app.db", tmp_path / "app.db-wal"
    commits = 300
    async with open_adapter_store(url(path)) as store:
        for i in range(commits):
            await store.commit(BUILD.change(f"user{i}", i, seen=2))
        assert log.stat().st_size < commits * 4096
    async with open_adapter_store(url(path)) as store:
        assert (await store.counts()).adapters == commits


async def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    await fill(path)
    size = path.stat().st_size
    for keep in (1, 99, 100, 4096, size // 2, size - 4096, size - 4097):
        copy = tmp_path / f"cut{keep}.db"
        copy.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(StoreError):
            async with open_adapter_store(url(copy)) as store:
                await look(store)


async def test_damaged_pages_give_an_error_or_the_right_answer(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    await fill(path)
    data = path.read_bytes()
    refused = 0
    pages = range(0, len(data) // 4096, 3)
    damaged = [data[: 4096 * i] + os.urandom(4096) + data[4096 * i + 4096 :] for i in pages]
    # The last byte is lost: whether it is read depends on what the last page is for.
    for page, bytes_ in enumerate([*damaged, data[:-1]]):
        copy = tmp_path / f"damaged{page}.db"
        copy.write_bytes(bytes_)
        try:
            async with open_adapter_store(url(copy)) as store:
                await look(store)
        except StoreError:
            refused += 1
    assert refused > len(pages) / 2


async def test_a_damaged_adapter_is_that_users_problem_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    await fill(path)
    db = sqlite3.connect(path)
    db.execute("UPDATE adapters SET body = zeroblob(length(body)) WHERE user_id = 'user007'")
    db.commit()
    db.close()
    async with open_adapter_store(url(path)) as store:
        with pytest.raises(StoreError, match="damaged"):
            await store.get("user007")
        assert await store.get("user008") is not None
        assert (await store.forget("user007", key_of("user007"), 2e9)).total == 3


async def test_another_applications_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE invoices (id)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="something else"):
        async with open_adapter_store(url(path)):
            pass
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["theirs.db"]  # noqa: PTH208


async def test_no_database_at_all(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        async with open_adapter_store(url(path)):
            pass
    assert path.read_text() == "not a database, " * 100
    with pytest.raises(StoreError, match="can't be opened"):
        async with open_adapter_store(url(tmp_path)):
            pass


async def test_a_future_version_says_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    await fill(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"version 99.*upgrade"):
        async with open_adapter_store(url(path)):
            pass


async def test_a_file_of_version_1_becomes_one_of_this(tmp_path: Path) -> None:
    """Before there were populations. Two processes may find it so at once."""
    path = tmp_path / "app.db"
    await fill(path)
    db = sqlite3.connect(path)
    for table in ("populations", "population_users"):
        db.execute(f"DROP TABLE {table}")
    db.execute("PRAGMA user_version = 1")
    db.close()

    async def put(namespace: str) -> None:
        async with open_adapter_store(url(path)) as store:
            assert await look(store) == 200
            record = PopulationRecord(b"body", (key_of("user007"),), 1.0)
            await store.put_population(namespace, record)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for namespace in ("one", "two"):
                tasks.start_soon(put, namespace)
    async with open_adapter_store(url(path)) as store:
        assert (await store.forget("user007", key_of("user007"), 2e9)).populations == 2


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.touch()
    await fill(path)
    async with open_adapter_store(url(path)) as store:
        assert await look(store) == 200


async def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "app.db"

    async def open_and_commit(user: str) -> None:
        async with open_adapter_store(url(path)) as store:
            await store.commit(BUILD.change(user))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for user in USERS[:16]:
                tasks.start_soon(open_and_commit, user)
    async with open_adapter_store(url(path)) as store:
        assert await store.scan(None, 100) == USERS[:16]


async def test_another_writer_is_waited_for_and_then_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.db"
    await fill(path)
    monkeypatch.setattr(schema, "BUSY", 0.05)
    async with open_adapter_store(url(path)) as store:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="another process"):
            await store.commit(BUILD.change("new", episodes=("new",)))
        assert await store.get("user000") is not None
        db.execute("ROLLBACK")
        db.close()
        await store.commit(BUILD.change("new"))
        assert (await store.remains("new", key_of("new"))).episodes == 0


async def test_one_bad_write_spares_those_beside_it(tmp_path: Path) -> None:
    """They share a transaction; only the one that can't be encoded fails."""
    errors: list[str] = []

    async def commit(store: AdapterStore, user: str) -> None:
        change = BUILD.change(user, episodes=(user,))
        if user == "bad":
            # Written into after it was checked, as a careless caller may.
            object.__setattr__(change.adapter, "version", float("nan"))
        try:
            await store.commit(change)
        except CodecError:
            errors.append(user)

    async with open_adapter_store(url(tmp_path / "app.db")) as store:
        async with anyio.create_task_group() as tasks:
            for user in ("a", "b", "bad", "c"):
                tasks.start_soon(commit, store, user)
        assert errors == ["bad"]
        assert await store.scan(None, 10) == ["a", "b", "c"]


async def test_whoever_waits_is_answered_when_the_store_is_cancelled(tmp_path: Path) -> None:
    """Also those outside the cancelled scope: refused or written, never left waiting."""
    answers: list[str] = []

    async def commit(store: AdapterStore, user: str) -> None:
        try:
            await store.commit(BUILD.change(user))
            answers.append(user)
        except StoreClosedError:
            answers.append("closed")

    path = tmp_path / "app.db"
    with anyio.fail_after(10):
        async with anyio.create_task_group() as outside:
            with anyio.CancelScope() as scope:
                async with open_adapter_store(url(path)) as store:
                    for user in USERS[:50]:
                        outside.start_soon(commit, store, user)
                    await anyio.lowlevel.checkpoint()
                    scope.cancel()
                    await anyio.sleep_forever()
    assert len(answers) == 50
    async with open_adapter_store(url(path)) as store:
        assert await store.scan(None, 100) == sorted(a for a in answers if a != "closed")


async def test_forgotten_bytes_are_overwritten(tmp_path: Path) -> None:
    """Deleted rows don't stay readable in the file."""
    path, secret = tmp_path / "app.db", "Rosebud-2b7e"
    async with open_adapter_store(url(path)) as store:
        change = BUILD.change(secret, episodes=(f"episode of {secret}",), seen=3)
        await store.commit(change)
        await store.commit(BUILD.change("somebody", seen=1))
        await store.forget(secret, key_of(secret), 2e9)
        for duty in await store.duties("forget", 3e9):
            await store.discharge(duty)
    data = path.read_bytes()
    # The tombstone remembers the keyed hash, nothing else.
    assert data.count(secret.encode()) == data.count(key_of(secret).encode()) == 1


def traces(path: Path, secret: str) -> int:
    """How often a user's name is in the file and its log, but for the keyed hash."""
    logged = path.with_name(path.name + "-wal")
    data = path.read_bytes() + logged.read_bytes()
    return data.count(secret.encode()) - data.count(key_of(secret).encode())


async def test_forgotten_bytes_are_gone_from_the_log_as_well(tmp_path: Path) -> None:
    """While the store is open, too."""
    path, secret = tmp_path / "app.db", "Rosebud-2b7e"
    async with open_adapter_store(url(path)) as store:
        await store.commit(BUILD.change(secret, episodes=(f"episode of {secret}",), seen=3))
        assert traces(path, secret) > 0
        assert (await store.forget(secret, key_of(secret), 2e9)).erased
        assert traces(path, secret) == 0


async def test_a_reader_of_the_log_is_told_of(tmp_path: Path) -> None:
    path, secret = tmp_path / "app.db", "Rosebud-2b7e"
    async with open_adapter_store(url(path)) as store:
        await store.commit(BUILD.change(secret, seen=3))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM adapters").fetchone()
            receipt = await store.forget(secret, key_of(secret), 2e9)
            assert (receipt.adapters, receipt.erased) == (1, False)
            assert traces(path, secret) > 0
        again = await store.forget(secret, key_of(secret), 2e9)
        assert (again.adapters, again.erased) == (0, True)
        assert traces(path, secret) == 0


# Holds the lock of SQLite's checkpoints (byte 121 of the shared memory) until its input ends.
COPYING = """
import fcntl, sys
with open(sys.argv[1], "r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX, 1, 121)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def copying(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is at a checkpoint."""
    with subprocess.Popen(
        [sys.executable, "-c", COPYING, f"{path}-shm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as copier:
        try:
            assert copier.stdout is not None
            assert copier.stdout.readline() == b"held\n"
            yield copier
        finally:
            copier.kill()


async def test_a_log_that_is_being_copied_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process copies its log now and then, beside its writes."""
    path, secret = tmp_path / "app.db", "Rosebud-2b7e"
    async with open_adapter_store(url(path)) as store:
        await store.commit(BUILD.change(secret, seen=3))
        with copying(path) as copier:
            waited: list[float] = []

            def wait(seconds: float) -> None:
                waited.append(seconds)
                copier.communicate(timeout=30)

            monkeypatch.setattr(schema, "time", SimpleNamespace(sleep=wait))
            assert (await store.forget(secret, key_of(secret), 2e9)).erased
            assert len(waited) == 1
        assert traces(path, secret) == 0


async def test_smaller_bounds_take_hold_at_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    await fill(path)
    replay = ReplayConfig(max_bytes=10 * BUILD.row_bytes)
    async with open_adapter_store(url(path), replay=replay) as store:
        await store.commit(BUILD.change("new", seen=2))
        counts = await store.counts()
    assert counts.experience_bytes == 10 * BUILD.row_bytes
