"""Long work of the store leaves the event loop its turns, and none of it is done on the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorabank import turns
from lorabank.types.pattern import ArmOutcome, Pattern, TrialOutcome
from lorabank.types.query import EVERYTHING
from lorabank.types.trials import Trials
from lorabank_faiss import Settings, open_store
from lorabank_faiss.reading import _BLOCK
from lorabank_faiss.tending import Tender
from lorabank_faiss.trials import _MOST_TRIALS
from lorabank_faiss.writing import Writer
from tests.faiss.samples import NAMESPACE, patterns, vector

TRIAL = TrialOutcome(0.4, 0.45, 0.5, 4, (ArmOutcome("learning_rate", 2.0, 0.3),))


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The threads that rested: with this clock each look at it says that it is time to."""
    rested: list[int] = []
    now = 0.0

    def perf_counter() -> float:
        nonlocal now
        now += 2 * turns.STRETCH
        return now

    monkeypatch.setattr(turns, "perf_counter", perf_counter)
    monkeypatch.setattr(turns.time, "sleep", lambda _: rested.append(threading.get_ident()))
    yield rested
    monkeypatch.undo()


async def test_what_is_written_and_read_in_bulk_gives_way(tmp_path: Path, rests: list[int]) -> None:
    count, loop = 1_000, threading.get_ident()
    async with open_store(Settings(tmp_path)) as store:
        await store.put_many(patterns(count))
        assert len(rests) >= count / _BLOCK
        rests.clear()
        await store.search(NAMESPACE, vector(1), 5, EVERYTHING)
        assert len(rests) >= count / _BLOCK
        rests.clear()
        await store.search(NAMESPACE, vector(1), count, EVERYTHING)
        assert len(rests) >= count / _BLOCK
    assert loop not in rests


async def test_maintenance_and_writing_are_workers_that_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[bool]] = {}

    def noted(owner: type, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def outer(*arguments: Any) -> Any:
            seen.setdefault(name, []).append(turns._worker.rested is not None)
            return inner(*arguments)

        monkeypatch.setattr(owner, name, outer)

    for owner, name in (
        (Tender, "tend"),
        (Tender, "save"),
        (Tender, "read_trials"),
        (Writer, "commit"),
    ):
        noted(owner, name)
    async with open_store(Settings(tmp_path, flat_limit=64, tail_limit=16)) as store:
        await store.put_many(patterns(200))
        await store.settle()
    assert seen.keys() == {"tend", "save", "read_trials", "commit"}
    assert all(all(rests) for rests in seen.values())


async def test_trials_become_columns_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that a plain search finds, until the table of trials has been read."""
    threads: set[int] = set()
    inner = Trials.of

    def of(found: Sequence[Pattern]) -> Trials:
        threads.add(threading.get_ident())
        return inner(found)

    async with open_store(Settings(tmp_path)) as store:
        await store.put_many(patterns(_MOST_TRIALS + 1, trial=TRIAL))
        monkeypatch.setattr(Trials, "of", of)
        monkeypatch.setattr(Tender, "read_trials", lambda _: None)
        found = await store.search_trials(NAMESPACE, vector(1), 100, EVERYTHING)
    assert len(found) == 100
    assert np.isin(found.loss, 0.3).all()
    assert threads
    assert threading.get_ident() not in threads
