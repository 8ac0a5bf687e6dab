"""What the kit does not ask: URLs, the index's growth and decline, memory, locks, leases."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabank.bank import open_bank
from lorabank.errors import BankUnavailableError, InvalidInputError
from lorabank.hooks import BankUrl
from lorabank.protocols import StoreStats
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import FaissStore, Settings, lease, open_store, reading
from lorabank_faiss.contents import Contents
from lorabank_faiss.growing import Growing
from lorabank_faiss.rwlock import ReadersWriterLock
from lorabank_faiss.schema import FILE
from lorabank_faiss.shards import Shards
from tests.faiss.samples import DIM, NAMESPACE, pattern, patterns, vector

PATIENCE = 20.0


def contents_of(store: FaissStore, name: str = NAMESPACE) -> Contents:
    contents = store._database.shards.of(name).contents
    assert contents is not None
    return contents


async def nearest(store: FaissStore, seed: int, **where: object) -> str:
    filter_ = PatternFilter(**where)  # type: ignore[arg-type]
    (match,) = await store.search(NAMESPACE, vector(seed), 1, filter_)
    return match.pattern.id


@pytest.mark.parametrize(
    "url",
    [
        "faiss://",
        "faiss:///",
        "faiss://host/path",
        "faiss:///a?unknown=1",
        "faiss:///a?readers=many",
        "faiss:///a?readers=0",
        "faiss:///a?busy_timeout=-1",
        "faiss:///a?busy_timeout=nan",
    ],
)
def test_wrong_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        Settings.from_url(BankUrl.parse(url))


def test_a_url_sets_what_it_says() -> None:
    url = BankUrl.parse("faiss:///a%20b/c?flat_limit=5&tail_limit=6&busy_timeout=0.5&readers=2")
    expected = Settings(Path("/a b/c"), flat_limit=5, tail_limit=6, busy_timeout=0.5, readers=2)
    assert Settings.from_url(url) == expected


@pytest.mark.anyio
async def test_the_blocks_own_error_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_bank(f"faiss://{tmp_path}"):
            raise KeyError("mine")


@pytest.mark.anyio
async def test_more_questions_at_once_than_readers_wait_for_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def held(_connection: sqlite3.Connection, name: str) -> StoreStats:
        begun.release()
        assert go_on.wait(PATIENCE)
        return StoreStats(0, 0, 0)

    def two_have_begun() -> None:
        assert begun.acquire(timeout=PATIENCE)
        assert begun.acquire(timeout=PATIENCE)

    monkeypatch.setattr(reading, "stats", held)
    with anyio.fail_after(PATIENCE):
        async with open_store(Settings(tmp_path, readers=2)) as store:
            # No thread waits for a connection: as many calls as there are connections have one.
            monkeypatch.setattr(store._database.readers, "_patience", 0.0)
            async with anyio.create_task_group() as group:
                for _ in range(16):
                    group.start_soon(store.stats, NAMESPACE)
                await anyio.to_thread.run_sync(two_have_begun)
                await anyio.wait_all_tasks_blocked()
                go_on.set()


@pytest.mark.anyio
async def test_an_index_is_built_grows_and_is_built_again(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path, flat_limit=100, tail_limit=20)) as store:
        await store.put_many(patterns(100))
        await store.settle()
        assert await nearest(store, 7) == "p000007"
        assert contents_of(store).main is None
        await store.put_many(patterns(50, start=100))
        await store.settle()
        main = contents_of(store).main
        assert main is not None
        await store.put_many(patterns(50, start=150))
        await store.settle()
        assert (contents_of(store).main, contents_of(store).merged) == (main, 200)
        await store.delete(NAMESPACE, PatternFilter(until=1090.0))
        await store.settle()
        assert contents_of(store).main is not main
        assert len(contents_of(store).rows) == 110
        assert await nearest(store, 195) == "p000195"
        await store.put_many(patterns(600, start=200))
        await store.settle()
        assert contents_of(store).main.trained_for == 710  # type: ignore[union-attr]
        assert await nearest(store, 795) == "p000795"


@pytest.mark.anyio
async def test_equal_contexts_are_ordered_by_id_however_many(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path, flat_limit=50, tail_limit=10)) as store:
        await store.put_many([pattern(f"same{n:04}", 3) for n in reversed(range(500))])
        await store.put_many(patterns(100))
        await store.settle()
        matches = await store.search(NAMESPACE, vector(3), 4, EVERYTHING)
        ids = [match.pattern.id for match in matches]
        assert ids == ["p000003", "same0000", "same0001", "same0002"]


@pytest.mark.anyio
async def test_exact_indexes_share_a_bounded_memory(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path, cache_mb=1)) as store:
        names = [f"tenant{n}" for n in range(6)]
        for name in names:
            await store.put_many(patterns(3000, namespace=name))
        for name in [*names, *names]:
            (match,) = await store.search(name, vector(7), 1, EVERYTHING)
            assert match.pattern.id == "p000007"
        held = [shard for shard in store._database.shards.all() if shard.contents is not None]
        assert 1 <= len(held) < len(names)


@pytest.mark.anyio
async def test_pruned_tombstones_are_not_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(Settings(tmp_path)) as one, open_store(Settings(tmp_path)) as other:
        await one.put_many(patterns(50))
        assert await nearest(other, 7) == "p000007"
        await one.delete(NAMESPACE, PatternFilter(until=1020.0))
        state = contents_of(other).sequence
        await one._commits.run(lambda tx: tx.prune(1, state + 1))
        assert await nearest(other, 7) != "p000007"
        assert len(await other.search(NAMESPACE, vector(7), 99, EVERYTHING)) == 30
    assert "disagree" not in caplog.text  # it was not only noticed afterwards


@pytest.mark.anyio
async def test_the_lease_has_one_holder(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:

        async def ask(holder: str, now: float) -> bool:
            return await store._commits.run(lambda tx: lease.acquire(tx, holder, now))

        assert await ask("one", 1000.0)
        assert await ask("one", 1010.0)
        assert not await ask("other", 1010.0 + lease.SECONDS - 1)
        assert await ask("other", 1010.0 + lease.SECONDS + 1)
        assert await ask("one", 0.0)  # ends so late that a clock must have been wrong
        assert await store._commits.run(lambda tx: lease.release(tx, "one"))
        assert not await store._commits.run(lambda tx: lease.release(tx, "one"))


@pytest.mark.anyio
async def test_index_and_table_that_disagree_are_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many(patterns(20))
        assert await nearest(store, 7) == "p000007"
        contents_of(store).rows.bury(np.array([8]))  # a bug, say
        await store.put_many(patterns(1, start=20))
        assert await nearest(store, 7) == "p000007"
    assert "disagree" in caplog.text


@pytest.mark.anyio
async def test_cancelled_writes_are_whole_or_absent(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:
        for number in range(30):
            with anyio.move_on_after(0.0005 * number):
                await store.put_many(patterns(20, start=20 * number, user_key=str(number)))
        for number in range(30):
            where = PatternFilter(user_key=str(number))
            assert len(await store.scan(NAMESPACE, where, None, 99)) in (0, 20)


@pytest.mark.anyio
async def test_closing_does_not_wait_for_an_index_to_be_built(tmp_path: Path) -> None:
    settings = Settings(tmp_path, flat_limit=100, tail_limit=10)
    for number in range(3):
        async with open_store(settings) as store:
            await store.put_many(patterns(2000, start=2000 * number))
    async with open_store(settings) as store:
        matches = await store.search(NAMESPACE, vector(7), 1 << 20, EVERYTHING)
        assert len({match.pattern.id for match in matches}) == 6000


@pytest.mark.anyio
async def test_opening_can_be_cancelled(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many(patterns(9000))
    with anyio.move_on_after(0.1) as scope:
        async with open_store(Settings(tmp_path, flat_limit=100)):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    async with open_store(Settings(tmp_path)) as store:
        assert await nearest(store, 7) == "p000007"


@pytest.mark.anyio
async def test_building_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with open_store(Settings(tmp_path, flat_limit=50)) as store:
        await store.put_many(patterns(60))
        await store.settle()
    assert "building an index" in caplog.text
    assert "the index is built" in caplog.text


def test_a_writer_waits_for_readers_and_gives_up() -> None:
    lock = ReadersWriterLock(patience=0.05)
    with lock.reading(), lock.reading(), pytest.raises(BankUnavailableError), lock.writing():
        pytest.fail("a writer came in beside readers")
    with lock.writing(), pytest.raises(BankUnavailableError), lock.reading():
        pytest.fail("a reader came in beside a writer")
    with lock.writing():
        pass


def test_a_waiting_writer_goes_before_new_readers() -> None:
    lock = ReadersWriterLock(patience=10.0)
    order: list[str] = []

    def write() -> None:
        with lock.writing():
            order.append("writer")

    def read() -> None:
        with lock.reading():
            order.append("reader")

    writer, reader = threading.Thread(target=write), threading.Thread(target=read)
    with lock.reading():
        writer.start()
        while not lock.writers_waiting:
            pass
        reader.start()
    writer.join(10)
    reader.join(10)
    assert order == ["writer", "reader"]


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=12))
def test_growing_arrays(steps: list[tuple[int, float]]) -> None:
    """Rows come at the end and go at the beginning; no more than four times their room is held."""
    array: Growing[np.ndarray[tuple[int, int], np.dtype[np.float64]]] = Growing(np.empty((0, 2)))
    rows = np.empty((0, 2))
    for number, (more, share) in enumerate(steps):
        new = np.full((more, 2), number, np.float64)
        array.append(new)
        gone = int(share * len(array))
        array.drop_first(gone)
        rows = np.concatenate([rows, new])[gone:]
        assert np.array_equal(array.values, rows)
        assert array.nbytes <= max(4 * rows.nbytes + 16, 64 * 16)


def test_a_growing_array_moves_while_somebody_looks_at_it() -> None:
    array: Growing[np.ndarray[tuple[int, int], np.dtype[np.float64]]] = Growing(np.empty((0, 2)))
    array.append(np.ones((1 << 20, 2)))
    seen = array.values
    array.drop_first((1 << 20) - 3)
    assert array.nbytes == 3 * 16
    assert seen.sum() == 1 << 21


def test_shards_of_one_name_are_one() -> None:
    shards = Shards(lambda _connection, _state: Contents(DIM), 1.0, 1 << 20)
    assert shards.of("a") is shards.of("a")
    assert shards.of("a") is not shards.of("b")


def traces(directory: Path, secret: str) -> int:
    """How often something is in the files of a bank, the log included."""
    return sum(path.read_bytes().count(secret.encode()) for path in directory.glob("*sqlite3*"))


async def test_deleted_bytes_are_gone_from_the_log_as_well(tmp_path: Path) -> None:
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many([pattern("a", user_key="Rosebud"), pattern("b")])
        assert traces(tmp_path, "Rosebud") > 0
        await store.delete(NAMESPACE, PatternFilter(user_key="Rosebud"))
        assert traces(tmp_path, "Rosebud") == 0
        assert len(await store.get(NAMESPACE, ["a", "b"])) == 1


async def test_a_reader_of_the_log_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many([pattern("a", user_key="Rosebud")])
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM pattern").fetchone()
            assert await store.delete(NAMESPACE, PatternFilter(user_key="Rosebud")) == 1
            assert "kept by a reader" in caplog.text
            assert traces(tmp_path, "Rosebud") > 0
        assert await store.delete(NAMESPACE, PatternFilter(user_key="Rosebud")) == 0
        assert traces(tmp_path, "Rosebud") == 0
