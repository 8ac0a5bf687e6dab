"""Starting, killing and waiting for workers, from a test."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from lorabank import Pattern
from lorabank.codec import decode

WORKER = (str(Path(__file__).parent / "worker.py"),)
ROOT = Path(__file__).parents[2]
PATIENCE = 110.0


class Nursery:
    """Talks to the process of `worker.py`, or another that answers as it does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._alive: set[int] = set()

    def start(self, kind: str, seed: int, database: Path, log: Path) -> int:
        """The pid of a worker on an adapter store."""
        return self.start_on(f"sqlite:///{database}", kind, seed, log)

    def start_on(self, place: str, kind: str, seed: int, log: Path) -> int:
        """The pid of a worker on anything."""
        pid = int(self._ask(f"{kind} {seed} {place} {log}"))
        self._alive.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        """With SIGKILL; returns once it has ended."""
        os.kill(pid, signal.SIGKILL)
        assert self.wait(pid) == -signal.SIGKILL

    def wait(self, pid: int) -> int:
        """Its exit code."""
        code = int(self._ask(f"wait {pid}"))
        self._alive.discard(pid)
        return code

    def end(self) -> None:
        """Kill what is left."""
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, f"no answer to {line!r}"
        return self._process.stdout.readline()


@contextmanager
def nursery(
    environment: Mapping[str, str] | None = None, worker: Sequence[str] = WORKER
) -> Iterator[Nursery]:
    """One process to fork from: Python's arguments are ``worker``."""
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    process = subprocess.Popen(
        [sys.executable, *worker],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | single | dict(environment or {}),
    )
    found = Nursery(process)
    try:
        yield found
    finally:
        found.end()


@dataclass
class Log:
    """What workers have said in their logs, followed as it grows."""

    path: Path
    versions: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    learned: int = 0
    _read: int = 0

    def follow(self) -> None:
        """Take in what is new."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            self.take(*line.split(maxsplit=1))

    def take(self, kind: str, rest: str) -> None:
        """One line."""
        if kind == "A":
            user, version, episode = rest.split()
            self.versions[user] = max(int(version), self.versions.get(user, 0))
            self.counts[user] = self.counts.get(user, 0) + 1
            if episode != "-":
                self.finished.add(episode)
        elif kind == "D":
            self.delivered.add(rest)
        elif kind == "C":
            self.learned += int(rest)
        else:
            self.errors.append(rest)

    def wait_for(self, acknowledged: int) -> None:
        """Until so many updates were acknowledged in all."""
        end = monotonic() + PATIENCE
        while sum(self.counts.values()) < acknowledged:
            assert monotonic() < end
            pause(0.002)
            self.follow()


def pause(seconds: float) -> None:
    """Let the workers run."""
    select.select([], [], [], seconds)


def stored_versions(database: Path) -> dict[str, int]:
    """Each user's version; the file must be sound."""
    db = sqlite3.connect(database)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dict(db.execute("SELECT user_id, version FROM adapters"))
    finally:
        db.close()


def queued_ids(database: Path) -> set[str]:
    """Ids of the episodes that wait."""
    db = sqlite3.connect(database)
    try:
        rows = db.execute("SELECT body FROM episodes WHERE dead IS NULL").fetchall()
        return {decode(Pattern, "pattern", body).id for (body,) in rows}
    finally:
        db.close()


def assert_nothing_lost(database: Path, log: Log) -> None:
    """Every acknowledged version is there or newer, every acknowledged episode is accounted for."""
    log.follow()
    stored = stored_versions(database)
    for user, version in log.versions.items():
        assert stored[user] >= max(version, log.counts[user]), user
    missing = log.finished - log.delivered - queued_ids(database)
    assert not missing
