"""What counts as keeping the event loop, and what does not, whatever else the machine does."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from time import thread_time

import anyio
import anyio.to_thread
import pytest

from lorabank_conformance import scheduling
from lorabank_conformance.heartbeat import assert_never_blocked, longest_pause

HELD = 0.4  # seconds


async def waiting() -> None:
    Event().wait(HELD)


async def computing() -> None:
    end = thread_time() + HELD
    while thread_time() < end:
        pass


async def beside() -> None:
    """As an honest store does."""
    await anyio.to_thread.run_sync(lambda: Event().wait(HELD))


@pytest.mark.anyio
@pytest.mark.parametrize("work", [waiting, computing])
async def test_who_holds_the_loop_is_named(work) -> None:  # type: ignore[no-untyped-def]
    assert await longest_pause(work) > HELD / 2
    with pytest.raises(pytest.fail.Exception, match=r"during scan for 0\.\d* s at least"):
        await assert_never_blocked({"search": beside, "scan": work}, HELD / 4)


@pytest.mark.anyio
async def test_who_works_beside_it_is_not() -> None:
    await assert_never_blocked({"search": beside, "nothing": anyio.lowlevel.checkpoint}, HELD / 4)


@pytest.mark.anyio
async def test_time_without_a_processor_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all of the pause had been spent in the scheduler's queue."""
    monkeypatch.setattr("lorabank_conformance.heartbeat.waited_since", lambda _: HELD)
    assert await longest_pause(waiting) < HELD / 2
    assert await longest_pause(computing) > HELD / 2


def test_waits_are_those_of_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "TASKS", tmp_path)
    for thread, told in (("1", "7 1000000000 3"), ("2", "7 2000000000 3"), ("3", "?")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(told)
    (tmp_path / "ended meanwhile").mkdir()
    before = scheduling.waits_for_a_processor()
    assert before == {"1": 1.0, "2": 2.0}
    (tmp_path / "2" / "schedstat").write_text("7 2500000000 3")
    (tmp_path / "3" / "schedstat").write_text("7 250000000 3")
    assert scheduling.waited_since(before) == pytest.approx(0.75)


def test_where_the_scheduler_does_not_tell_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "TASKS", tmp_path / "none")
    assert scheduling.waited_since(scheduling.waits_for_a_processor()) == 0.0
