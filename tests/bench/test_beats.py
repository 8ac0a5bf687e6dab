"""Whose doing a late turn of the event loop is."""

from __future__ import annotations

import gc
import time

import anyio
import anyio.lowlevel
import pytest

from lorabank_bench.beats import EVERY, Beat, Watch, beating, pauses, since
from lorabank_bench.suites.heartbeat import judged


def beat(wall: float, cpu: float, coreless: float = 0.0) -> Beat:
    return Beat(1e-3 * wall, 0.0, 1e-3 * cpu, 1e-3 * coreless, 0)


def test_what_is_between_two_looks() -> None:
    found = since(Beat(1.0, 2.0, 3.0, 4.0, 5), Beat(1.5 + EVERY, 2.1, 3.3, 4.2, 6))
    assert found == pytest.approx((0.5, 0.1, 0.3, 0.2, 1))


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
