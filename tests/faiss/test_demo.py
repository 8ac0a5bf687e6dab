"""The demo on a bank in a directory: killed, and run again on what it left."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import pytest

from lorabank import open_bank
from lorabank_faiss.schema import FILE

DEMO = (sys.executable, "-m", "lorabank", "demo", "--quick", "--users", "60", "--no-report")
ENOUGH = 20  # patterns of the first run that are there when it is killed
# Against hanging: a run takes 6 s of CPU, of which a crowded machine gives a thirtieth.
LIMIT = 250


@pytest.mark.timeout(600)
def test_a_killed_demo_is_continued_by_the_next_one(tmp_path: Path) -> None:
    url, database = f"faiss://{tmp_path}/bank", tmp_path / "bank" / FILE
    command = [*DEMO, "--json", "--bank", url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        try:
            wait_until_filled(database)
            assert first.poll() is None, "it ended before it could be killed"
        finally:
            first.kill()
    ((namespace, left),) = patterns(database).items()
    assert left >= ENOUGH
    assert checked(database) == "ok"
    assert anyio.run(readable, url, namespace) == left

    second = subprocess.run(command, capture_output=True, check=True, text=True, timeout=LIMIT)
    (run,) = json.loads(second.stdout)["runs"]
    known, past = run["updates"]["continued"], run["updates"]["past"]
    # An episode is finished by its user's next batch: there are more updates than patterns.
    assert left <= known < past
    told = f"continuing: {known} of {past} past users' batches are learned already"
    assert told in second.stderr.splitlines()
    # Nothing was lost, and nothing is there twice: it went on in the same namespace.
    made = past + run["updates"]["new"]
    assert run["episodes"] == {"made": made, "held": made, "dead": 0, "undelivered": 0, "lost": 0}
    assert patterns(database) == {namespace: made}
    assert checked(database) == "ok"
    assert not list(database.parent.glob("demo-*"))  # it is done


def wait_until_filled(database: Path) -> None:
    """Return when the run has stored a few patterns."""
    deadline, pause = time.monotonic() + LIMIT, threading.Event()
    while not database.exists() or sum(patterns(database).values()) < ENOUGH:
        assert time.monotonic() < deadline
        pause.wait(0.05)


async def readable(url: str, namespace: str) -> int:
    """How many patterns the bank itself says the namespace has."""
    async with open_bank(url) as bank:
        return (await bank.stats(namespace)).patterns


def patterns(database: Path) -> dict[str, int]:
    """Patterns in the table, by namespace; nothing while it is being made."""
    query = (
        "SELECT name, count(*) FROM pattern JOIN namespace ON code = namespace GROUP BY namespace"
    )
    try:
        return dict(_ask(database, query))
    except sqlite3.OperationalError:
        return {}


def checked(database: Path) -> str:
    """What SQLite's own check says."""
    ((answer,),) = _ask(database, "PRAGMA integrity_check")
    return str(answer)


def _ask(database: Path, query: str) -> list[tuple[str, int]]:
    connection = sqlite3.connect(database, timeout=10)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
