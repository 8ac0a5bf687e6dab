"""A process delivers an episode of somebody whom another has just forgotten, and is killed."""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import anyio
import numpy as np
import pytest

from lorabank import Clock, user_key
from lorabank.personalizer import Personalizer
from lorabank.personalizer.upkeep import LEASE
from lorabank.stores.base import GRACE
from lorabank_faiss import FaissStore
from lorabank_faiss.schema import FILE
from tests.crash.nursery import PATIENCE, Log, nursery, pause
from tests.crash.worker import CONFIG, feedback
from tests.faiss.test_crash import FORKED, LEARNED, stored

ADA = user_key("ada", CONFIG.user_key_secret)


@dataclass
class Told(Log):
    """What the worker has said of its delivery."""

    told: list[str] = field(default_factory=list)

    def take(self, kind: str, rest: str) -> None:
        """One line."""
        if kind == "B":
            self.told.append(rest)
        else:
            super().take(kind, rest)

    def hear(self, wanted: str) -> None:
        """Until it is said."""
        end = monotonic() + PATIENCE
        while wanted not in self.told:
            assert monotonic() < end
            pause(0.002)
            self.follow()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("comes_back", [False, True])
def test_what_the_killed_one_delivered_is_forgotten_again(
    comes_back: bool, tmp_path: Path, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bank that can't refuse."""

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(FaissStore, "refuse", nothing)
    log = Told(tmp_path / "log")
    os.mkfifo(tmp_path / "gate")
    with nursery(worker=FORKED) as workers:
        pid = workers.start_on(str(tmp_path), "deliver", 0, log.path)
        log.hear("about to")
        new = anyio.run(forget, tmp_path, comes_back, backend=anyio_backend)
        assert in_bank(tmp_path) == set()
        (tmp_path / "gate").write_bytes(b"")
        log.hear("done")
        workers.kill(pid)
    assert in_bank(tmp_path) == log.finished, "the bank has what nobody knows of"
    assert not new & log.finished
    # As soon as somebody else delivers; at the latest when what is owed is due.
    later = LEASE + 5.0 if comes_back else LEASE + GRACE
    anyio.run(deliver, tmp_path, later, backend=anyio_backend)
    assert in_bank(tmp_path) == new


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells who is stopped")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("comes_back", [False, True])
def test_what_one_delivers_that_was_stopped_for_long_is_refused(
    comes_back: bool, tmp_path: Path, anyio_backend: str
) -> None:
    """All that is owed has been done when it goes on, and it is killed before it looks."""
    log = Told(tmp_path / "log")
    os.mkfifo(tmp_path / "gate")
    with nursery(worker=FORKED) as workers:
        pid = workers.start_on(str(tmp_path), "deliver", 0, log.path)
        log.hear("about to")
        os.kill(pid, signal.SIGSTOP)
        wait_until_stopped(pid)
        new = anyio.run(take_over_and_forget, tmp_path, comes_back, backend=anyio_backend)
        assert in_bank(tmp_path) == new
        os.kill(pid, signal.SIGCONT)
        (tmp_path / "gate").write_bytes(b"")
        log.hear("done")
        workers.kill(pid)
    assert log.finished
    assert not new & log.finished
    assert in_bank(tmp_path) == new


def wait_until_stopped(pid: int) -> None:
    end = monotonic() + PATIENCE
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert monotonic() < end
        pause(0.002)


async def take_over_and_forget(directory: Path, comes_back: bool) -> set[str]:
    """As another process, once the lease has run out; until nothing is owed to anybody."""
    new = set()
    with anyio.fail_after(PATIENCE):
        async with opened(directory, LEASE + 5.0) as p:
            assert await p._parts.upkeep.seek_lead()
            assert (await p.forget("ada")).verified
            for number in range(3 if comes_back else 0):
                report = await p.learn("ada", feedback(np.random.default_rng(number)))
                new |= {report.finished.id} if report.finished else set()
            await p._parts.queue.emptied()
            assert await p._parts.store.duties("forget", math.inf) == []
            assert (await p._parts.store.counts()).queued == 0
    return new


async def forget(directory: Path, comes_back: bool) -> set[str]:
    """As another process; what the user's new episodes are."""
    new = set()
    async with opened(directory) as p:
        receipt = await p.forget("ada")
        assert receipt.verified
        assert receipt.removed.episodes == 1
        for number in range(3 if comes_back else 0):
            report = await p.learn("ada", feedback(np.random.default_rng(number)))
            new |= {report.finished.id} if report.finished else set()
        assert not p._parts.queue.leads
    return new


async def deliver(directory: Path, later: float) -> None:
    """As the next one that delivers."""
    with anyio.fail_after(PATIENCE):
        async with opened(directory, later) as p:
            await p._parts.upkeep.seek_lead()
            assert p._parts.queue.leads
            await p._parts.queue.emptied()


def opened(directory: Path, later: float = 0.0) -> Personalizer:
    store, bank = f"sqlite:///{directory}/app.db", f"faiss://{directory}/bank"
    clock = Clock(wall=lambda: time.time() + later)
    return Personalizer.open(CONFIG, store=store, bank=bank, clock=clock)


def in_bank(directory: Path) -> set[str]:
    """The user's episodes."""
    return stored(directory / "bank" / FILE).get(LEARNED, {}).get(ADA, set())
