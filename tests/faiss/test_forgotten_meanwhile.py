"""A process is killed when the bank has an episode of somebody whom another has just forgotten."""

from __future__ import annotations

import os
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
    comes_back: bool, tmp_path: Path, anyio_backend: str
) -> None:
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
