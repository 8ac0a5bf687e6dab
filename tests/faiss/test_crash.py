"""kill -9 at random moments: what was acknowledged is there, whole, and index and table agree."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from lorabank import Clock
from lorabank.personalizer import Personalizer
from lorabank.personalizer.upkeep import LEASE
from lorabank.types.query import EVERYTHING
from lorabank_faiss import Settings, open_store
from lorabank_faiss.schema import FILE
from tests.crash.nursery import Log, assert_nothing_lost, nursery, pause, queued_ids
from tests.crash.worker import CONFIG
from tests.faiss.crashing import DIRECT, LIMITS
from tests.faiss.samples import vector

FORKED = ("-m", "tests.faiss.crashing")
# 200 rounds by default, each part in a directory of its own, so that there is less to compare.
PARTS, ROUNDS, LONG = 4, 50, 500
LEARNED = CONFIG.namespace
PATIENCE = 60


@dataclass
class Books(Log):
    """What workers have said, also of what they stored and deleted.

    Attributes:
        ids: per user, after the last acknowledged operation.
        in_flight: after the one that had begun, if one had.
    """

    ids: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    in_flight: dict[str, set[str]] = field(default_factory=dict)

    def take(self, kind: str, rest: str) -> None:
        """One line."""
        if kind != "B":
            super().take(kind, rest)
            return
        said: dict[str, Any] = json.loads(rest)
        user = said["user"]
        if "done" in said:
            self.ids[user] = self.in_flight.pop(user)
        else:
            self.in_flight[user] = set() if "delete" in said else self.ids[user] | set(said["put"])

    def settle(self, found: dict[str, set[str]]) -> None:
        """What was found must be each user's state before or after the operation in flight."""
        for user in {*self.ids, *self.in_flight}:
            before, ids = self.ids[user], found.get(user, set())
            allowed = [before, self.in_flight.pop(user, before)]
            assert ids in allowed, (user, len(ids), [len(one) for one in allowed])
            self.ids[user] = ids
        assert found.keys() <= self.ids.keys()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_processes_lose_nothing(part: int, tmp_path: Path) -> None:
    run_rounds(tmp_path, ROUNDS, part)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_killed_processes_lose_nothing_for_long(tmp_path: Path) -> None:
    run_rounds(tmp_path, LONG, PARTS)


def run_rounds(directory: Path, rounds: int, part: int) -> None:
    """Two processes learn side by side; both are killed; everything acknowledged is there."""
    chance, log = random.Random(part), Books(directory / "log")
    with nursery(worker=FORKED) as workers:
        for number in range(rounds):
            before = sum(log.counts.values())
            seeds = (2 * number, 2 * number + 1)
            pids = [workers.start_on(str(directory), "learn", seed, log.path) for seed in seeds]
            # Now and then while they are still opening their files.
            if number % 4:
                log.wait_for(before + chance.randrange(1, 40))
            for pid in pids:
                pause(chance.uniform(0.0, 0.05))
                workers.kill(pid)
            log.follow()
            if number % 4 or (directory / "app.db").exists():
                look(directory, log, number)
    assert not log.errors
    assert sum(log.counts.values()) >= rounds
    assert log.finished
    anyio.run(deliver_the_rest, directory, rounds)
    assert queued_ids(directory / "app.db") == set()
    look(directory, log, rounds)
    assert log.finished <= log.delivered


def look(directory: Path, log: Books, number: int) -> None:
    """Compare both files, and the index, with what was acknowledged."""
    database = directory / "bank" / FILE
    table = stored(database) if database.exists() else {}
    log.delivered |= set().union(*table.get(LEARNED, {}).values())
    assert_nothing_lost(directory / "app.db", log)
    log.settle(table.get(DIRECT, {}))
    anyio.run(agree, directory, table, backend=["asyncio", "trio"][number % 2])


def stored(database: Path) -> dict[str, dict[str, set[str]]]:
    """Ids by namespace and user; the file must be sound."""
    found: dict[str, dict[str, set[str]]] = {}
    connection = sqlite3.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return {}  # killed before the tables were made
        query = "SELECT name, user_key, id FROM pattern JOIN namespace ON code = namespace"
        for name, user, pattern_id in connection.execute(query):
            found.setdefault(name, {}).setdefault(user, set()).add(pattern_id)
    finally:
        connection.close()
    return found


async def agree(directory: Path, table: dict[str, dict[str, set[str]]]) -> None:
    """The next start's index finds what the table has, and nothing else."""
    with anyio.fail_after(PATIENCE):
        async with open_store(Settings(directory / "bank", **LIMITS)) as store:
            for namespace in (LEARNED, DIRECT):
                expected: set[str] = set().union(*table.get(namespace, {}).values())
                matches = await store.search(namespace, vector(1), 1 << 20, EVERYTHING)
                assert {match.pattern.id for match in matches} == expected
                assert len(matches) == len(expected)
                assert (await store.stats(namespace)).patterns == len(expected)


async def deliver_the_rest(directory: Path, rounds: int) -> None:
    """The next start delivers what the killed ones had left."""
    store, bank = f"sqlite:///{directory}/app.db", f"faiss://{directory}/bank"
    clock = Clock(wall=lambda: time.time() + 2 * LEASE * rounds)
    async with Personalizer.open(CONFIG, store=store, bank=bank, clock=clock) as p:
        with anyio.fail_after(PATIENCE):
            await p._parts.queue.emptied()
