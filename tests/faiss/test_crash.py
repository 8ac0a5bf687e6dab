"""kill -9 at random moments: what was acknowledged is there, whole, and index and table agree."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import Settings, open_store
from lorabank_faiss.schema import FILE
from tests.faiss.crashing import LIMITS
from tests.faiss.samples import NAMESPACE, vector

CHILD = "tests.faiss.crashing"
ROOT = Path(__file__).parents[2]
PROCESSES = 2
LONGEST_LIFE = 80  # lines of a process before it is killed
PATIENCE = 60


class Acknowledged:
    """Per user: ids after the last acknowledged operation, and after the one in flight, if any."""

    def __init__(self) -> None:
        self.ids: defaultdict[str, set[str]] = defaultdict(set)
        self.in_flight: dict[str, set[str]] = {}

    def hear(self, line: str) -> None:
        """A line of a child."""
        said: dict[str, Any] = json.loads(line)
        user = said["user"]
        if "done" in said:
            self.ids[user] = self.in_flight.pop(user)
        else:
            self.in_flight[user] = set() if "delete" in said else self.ids[user] | set(said["put"])

    def settle(self, user: str, found: set[str]) -> None:
        """What was found must be the state before or after the operation in flight."""
        before = self.ids[user]
        allowed = [before, self.in_flight.pop(user, before)]
        assert found in allowed, (user, len(found), [len(ids) for ids in allowed])
        self.ids[user] = found


@pytest.mark.timeout(300)
def test_killed_processes_lose_nothing(tmp_path: Path) -> None:
    run_rounds(tmp_path, 15)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_killed_processes_lose_nothing_for_long(tmp_path: Path) -> None:
    run_rounds(tmp_path, 200)


def run_rounds(directory: Path, rounds: int) -> None:
    rng = np.random.default_rng(7)
    books = [Acknowledged() for _ in range(PROCESSES)]
    for number in range(rounds):
        live_and_die(directory, number, rng, books)
        anyio.run(look, directory, books, backend=["asyncio", "trio"][number % 2])


def live_and_die(
    directory: Path, number: int, rng: np.random.Generator, books: list[Acknowledged]
) -> None:
    """Let processes work on one directory, and kill each after a random number of lines.

    Their users are those of the round before, so that what there is to compare does not grow.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-m", CHILD, str(directory), str(which), str(number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for which in range(PROCESSES)
    ]
    try:
        for child, book in zip(children, books, strict=True):
            assert child.stdout is not None
            for _ in range(int(rng.integers(1, LONGEST_LIFE))):
                book.hear(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
    finally:
        for child, book in zip(children, books, strict=True):
            child.kill()
            assert child.stdout is not None
            with child.stdout as output:  # ends where the process ended, perhaps within a line
                for line in output:
                    if line.endswith("\n"):
                        book.hear(line)
            child.wait(PATIENCE)


async def look(directory: Path, books: list[Acknowledged]) -> None:
    """Compare the store with what was acknowledged."""
    with sqlite3.connect(directory / FILE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with anyio.fail_after(PATIENCE):
        async with open_store(Settings(directory, **LIMITS)) as store:
            expected: set[str] = set()
            for book in books:
                for user in list(book.ids.keys() | book.in_flight.keys()):
                    where = PatternFilter(user_key=user)
                    found = {p.id for p in await store.scan(NAMESPACE, where, None, 1 << 20)}
                    book.settle(user, found)
                    expected |= found
            matches = await store.search(NAMESPACE, vector(1), 1 << 20, EVERYTHING)
            assert {match.pattern.id for match in matches} == expected
            assert (await store.stats(NAMESPACE)).patterns == len(expected)
