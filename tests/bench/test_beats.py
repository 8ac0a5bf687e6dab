"""Whose doing a late turn of the event loop is."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.lowlevel
import pytest

from lorabank_bench.beats import EVERY, Beat, Watch, beating, pauses, since
from lorabank_bench.stalls import PRIORITY, Stalls, sentinels
from lorabank_bench.suites.heartbeat import judged

UNTIL = 50.0


def beat(wall: float, cpu: float, coreless: float = 0.0) -> Beat:
    return Beat(1e-3 * wall, 0.0, 1e-3 * cpu, 1e-3 * coreless, 0, UNTIL)


def test_what_is_between_two_looks() -> None:
    before, after = Beat(1.0, 2.0, 3.0, 4.0, 5, 7.0), Beat(1.5 + EVERY, 2.1, 3.3, 4.2, 6, 7.5)
    assert since(before, after) == pytest.approx((0.5, 0.1, 0.3, 0.2, 1, 7.5))


@pytest.mark.parametrize(
    ("found", "held", "late"),
    [
        (beat(9, cpu=10), 9, 9),  # a thread kept the lock
        (beat(9, cpu=1), 1, 9),  # the host took a core, or a disk was waited for
        (beat(9, cpu=10, coreless=7), 2, 2),  # others had the core
        (beat(-0.1, cpu=1), 0, 0),
        (beat(1, cpu=1, coreless=3), 0, 0),  # counted a moment later
    ],
)
def test_what_is_held_takes_cpu_and_has_a_core(found: Beat, held: float, late: float) -> None:
    watch = Watch.of([found])
    assert watch.held.tolist() == pytest.approx([held])
    assert watch.late.tolist() == pytest.approx([late])


@pytest.mark.parametrize(
    ("found", "held"),
    [
        ([(49.993, 49.997)], 5),
        ([(49.985, 49.995)], 4),  # from the look before to its end
        ([(49.993, 49.997), (49.995, 49.999)], 3),  # on both processors at once
        ([(49.993, 49.994), (49.998, 50.020)], 6),
        ([(40.0, 49.99), (50.0, 51.0)], 9),  # before, and after
        ([(49.0, 51.0)], 0),
    ],
)
def test_what_stood_still_did_not_hold(found: list[tuple[float, float]], held: float) -> None:
    late = beat(9, cpu=18)  # a thread on the other processor goes on
    assert Watch.of([late], Stalls(found)).held.tolist() == pytest.approx([held])


@contextmanager
def taken_away() -> Iterator[None]:
    """One of our processors is this thread's alone, before the sentinel's."""
    processors, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    usual = os.sched_getparam(0)
    try:
        os.sched_setaffinity(0, {min(processors)})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY + 1))
        yield
    finally:
        os.sched_setscheduler(0, policy, usual)
        os.sched_setaffinity(0, processors)


def test_sentinels_see_that_a_processor_is_taken_away() -> None:
    """By a program of a still higher priority here; by the host, elsewhere."""
    with sentinels() as watching:
        if not watching.watching:
            pytest.skip("no right to real-time priorities here")
        try:
            with taken_away():
                begin = time.perf_counter()
                while time.perf_counter() < begin + 0.02:
                    pass
        except PermissionError:
            pytest.skip("no right to a priority above theirs here")
        found = watching.stalls()
    assert found.between(begin, begin + 0.02) >= 0.018


def test_every_run_is_judged_by_what_is_held_and_the_best_by_how_late_it_was() -> None:
    quiet, stolen, ours = (Watch.of([b]) for b in (beat(1, 1), beat(50, 1), beat(6, 6)))
    assert judged([quiet, stolen, quiet])[1]
    assert not judged([stolen, stolen])[1], "it waits for something each time"
    assert not judged([quiet, ours, quiet])[1]


async def test_a_loop_that_computes_is_held() -> None:
    async with beating() as beats:
        with anyio.fail_after(10):
            while not beats:  # it looks at the clock by now
                await anyio.lowlevel.checkpoint()
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
    watch = Watch.of(beats)
    assert watch.loop_cpu.max() >= 20
    assert watch.held.max() >= 10


def test_collections_are_noted_by_generation() -> None:
    with pauses() as found:
        gc.collect(1)
    gc.collect(2)
    assert [len(found.seconds[number]) for number in range(3)] == [0, 1, 0]
    assert found.longest((0, 1)) > 0 == found.longest((2,))
