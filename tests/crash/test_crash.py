"""Real processes, killed at any moment."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import anyio
import numpy as np
import pytest
from tests.crash.nursery import (
    Log,
    assert_nothing_lost,
    nursery,
    pause,
    queued_ids,
    stored_versions,
)
from tests.crash.worker import CONFIG, LoggingBank, feedback
from tests.support.small_disk import small_disk

from lorabank import Clock
from lorabank.personalizer import Personalizer
from lorabank.personalizer.upkeep import LEASE

LATER = 4 * LEASE
ROUNDS = 200
TOGETHER = 30.0  # seconds


@pytest.mark.timeout(900)
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Two processes learn side by side; both are killed; everything acknowledged is there."""
    chance, database, log = random.Random(1), tmp_path / "app.db", Log(tmp_path / "log")
    with nursery() as workers:
        for number in range(ROUNDS):
            before = sum(log.counts.values())
            pids = [workers.start("crash", 2 * number + i, database, log.path) for i in (0, 1)]
            # Now and then while they are still opening the file.
            if number % 4:
                log.wait_for(before + chance.randrange(1, 20))
            for pid in pids:
                pause(chance.uniform(0.0, 0.03))
                workers.kill(pid)
            if database.exists():
                assert_nothing_lost(database, log)
    assert sum(log.counts.values()) >= ROUNDS
    assert log.finished
    everything_is_delivered(database, log)


def everything_is_delivered(database: Path, log: Log) -> None:
    """The next start delivers what the killed ones had left."""
    said: list[str] = []

    async def start() -> None:
        store, bank = f"sqlite:///{database}", LoggingBank(said.append)
        async with Personalizer.open(CONFIG, store=store, bank=bank, clock=shifted([LATER])) as p:
            with anyio.fail_after(60):
                await p._parts.queue.emptied()

    left = queued_ids(database)
    anyio.run(start)
    assert left <= {line.removeprefix("D ") for line in said}
    assert queued_ids(database) == set()


def shifted(by: list[float]) -> Clock:
    """A clock that is off by ``by[0]`` seconds."""
    return Clock(wall=lambda: time.time() + by[0])


def test_another_process_takes_over_from_a_killed_deliverer(tmp_path: Path) -> None:
    """Not before its lease has run out; then what is queued is delivered."""
    database, log, said = tmp_path / "app.db", Log(tmp_path / "log"), list[str]()
    with nursery() as workers:
        pid = workers.start("crash", 0, database, log.path)
        log.wait_for(5)
        workers.kill(pid)

    async def take_over() -> None:
        store, bank, by = f"sqlite:///{database}", LoggingBank(said.append), [-LATER]
        async with Personalizer.open(CONFIG, store=store, bank=bank, clock=shifted(by)) as p:
            for seed in range(2):
                await p.learn("ada", feedback(np.random.default_rng(seed)))
            await p._parts.upkeep.seek_lead()
            assert not p._parts.queue.leads
            assert not said
            by[0] = LATER
            with anyio.fail_after(60):
                await p._parts.upkeep.seek_lead()
                await p._parts.queue.emptied()

    anyio.run(take_over)
    assert said
    assert queued_ids(database) == set()


def test_eight_processes_lose_no_update(tmp_path: Path) -> None:
    """They learn the same 50 users; each acknowledged update is one version."""
    database, log = tmp_path / "app.db", Log(tmp_path / "log")
    with nursery({"CONTEND_SECONDS": str(TOGETHER)}) as workers:
        pids = [workers.start("contend", seed, database, log.path) for seed in range(8)]
        assert [workers.wait(pid) for pid in pids] == [0] * 8
    log.follow()
    assert sum(stored_versions(database).values()) == log.learned
    assert log.learned > 50


def test_limit_on_files(tmp_path: Path) -> None:
    """A typed error, nothing lost, and it goes on once there is room."""
    database, log = tmp_path / "app.db", Log(tmp_path / "log")
    with nursery() as workers:
        for seed in (0, 1):
            assert workers.wait(workers.start("full", seed, database, log.path)) == 0
    assert_nothing_lost(database, log)
    assert log.errors == ["StoreUnavailableError"] * 2
    stored = stored_versions(database)
    assert stored == log.counts


def test_full_disk(tmp_path: Path) -> None:
    """The same with a file system that has no room left."""
    log = Log(tmp_path / "log")
    (small := tmp_path / "small").mkdir()
    database = small / "app.db"
    with small_disk(small, 6), nursery() as workers:
        for seed in (0, 1):
            (small / "ballast").write_bytes(bytes(1 << 20))
            assert workers.wait(workers.start("full", seed, database, log.path)) == 0
        assert_nothing_lost(database, log)
        assert stored_versions(database) == log.counts
    assert log.errors == ["StoreUnavailableError"] * 2


@pytest.mark.parametrize("what", ["file", "folder"])
def test_read_only(what: str, tmp_path: Path) -> None:
    """A typed error that says what to do, and what is there stays as it is."""
    database, log = tmp_path / "app.db", Log(tmp_path / "log")

    async def create() -> None:
        async with Personalizer.open(CONFIG, store=f"sqlite:///{database}"):
            pass

    anyio.run(create)
    before = database.read_bytes()
    log.path.touch()
    log.path.chmod(0o666)
    # Root may write anywhere, so the worker becomes nobody: who must get there, though.
    folders = [f for f in tmp_path.parents if f.stat().st_uid == os.geteuid() and f.stat().st_mode]
    modes = {f: f.stat().st_mode for f in [tmp_path, *folders]}
    try:
        for folder in modes:
            folder.chmod(0o755)
        if what == "folder":
            database.chmod(0o666)
            tmp_path.chmod(0o555)
        else:
            database.chmod(0o444)
            tmp_path.chmod(0o777)
        with nursery() as workers:
            assert workers.wait(workers.start("unprivileged", 0, database, log.path)) == 0
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    log.follow()
    assert len(log.errors) == 1
    assert log.errors[0].startswith("StoreError ")
    assert "permission" in log.errors[0]
    assert database.read_bytes() == before
