"""How long the event loop is held: a task that wants its turn every millisecond looks at the clock.

The wall's delay is what an application feels, and what is judged. It also counts what the rest of
the machine did, so each scene is done several times, and the best of them counts: what holds the
loop by itself does so every time. All of them are shown, with what tells one cause from another:
the CPU time of the loop's thread, that of the whole process, and how often the system took the
loop's thread off its core. Controls show the same of a loop beside which nothing of ours runs.

Python's collector of cycles stops every thread now and then, for as long as it takes to walk all
objects. What is imported is left out of that, as a service does (`gc.freeze`). What a scene keeps
is not: how long that takes is shown beside the scene, and it may fall into any of its runs.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter, process_time, thread_time
from typing import NamedTuple

import anyio
import numpy as np

from lorabank_bench.looping import in_loop
from lorabank_bench.results import Figure, Results
from lorabank_bench.scenes import CONTROLS, SCENES, Scene
from lorabank_bench.setup import Setup

EVERY, LIMIT = 1e-3, 5.0
RUNS = 3


class Beat(NamedTuple):
    """From one look at the clock to the next: seconds, and how often the thread lost its core."""

    wall: float
    loop_cpu: float
    process_cpu: float
    switches: int


class Watch(NamedTuple):
    """The beats of one run, (beats,) each; milliseconds, counts."""

    wall: np.ndarray
    loop_cpu: np.ndarray
    process_cpu: np.ndarray
    switches: np.ndarray

    @property
    def longest(self) -> float:
        """By the wall."""
        return float(self.wall.max())


def heartbeat(setup: Setup, results: Results) -> None:
    """Each scene on asyncio and on trio."""
    imports = full_collection()
    results.add(Figure("heartbeat", "imports", "a full collection of cycles", imports, "ms"))
    gc.freeze()
    for backend in ("asyncio", "trio"):
        idle = 0.0
        for name, control in CONTROLS.items():
            runs, _ = _watched(control, setup, backend)
            idle = idle or _best(runs).longest
            _tell(results, f"control: {name}, {backend}", runs)
        for name, scene in SCENES.items():
            what = f"{name}, {backend}"
            runs, collection = _watched(scene, setup, backend)
            _tell(results, what, runs)
            kept = "a full collection of cycles"
            results.add(Figure("heartbeat", what, kept, collection, "ms"))
            found = ", ".join(f"{longest:.1f}" for longest in sorted(run.longest for run in runs))
            results.mark(
                f"loop held: {what}",
                f"<= {LIMIT:g} ms",
                f"{found} ms (idle: {idle:.1f} ms)",
                _best(runs).longest <= LIMIT,
            )


def _best(runs: Sequence[Watch]) -> Watch:
    return min(runs, key=lambda run: run.longest)


def _tell(results: Results, what: str, runs: Sequence[Watch]) -> None:
    """What the best run showed."""
    best = _best(runs)
    place = int(best.wall.argmax())
    figures = {
        "longest, wall": (best.longest, "ms"),
        "p99, wall": (float(np.percentile(best.wall, 99)), "ms"),
        "longest, wall, worst run": (max(run.longest for run in runs), "ms"),
        "the process's CPU in the longest": (float(best.process_cpu[place]), "ms"),
        "times the loop's thread lost its core": (float(best.switches.sum()), ""),
        "longest, CPU of the loop": (float(best.loop_cpu.max()), "ms"),
    }
    for subject, (value, unit) in figures.items():
        results.add(Figure("heartbeat", what, subject, value, unit))


def _watched(scene: Scene, setup: Setup, backend: str) -> tuple[list[Watch], float]:
    return in_loop(partial(_runs, scene, setup), backend)


async def _runs(scene: Scene, setup: Setup) -> tuple[list[Watch], float]:
    """The runs, and milliseconds of a collection when all is set up."""
    found = []
    async with scene(setup) as work:
        collection = full_collection()
        for _ in range(RUNS):
            async with beating() as beats:
                await work()
            wall, loop, process, switches = np.array(beats).T
            found.append(Watch(1e3 * wall, 1e3 * loop, 1e3 * process, switches))
    return found, collection


def full_collection() -> float:
    """Milliseconds of CPU that a collection takes when there is no garbage."""
    gc.collect()
    started = thread_time()
    gc.collect()
    return 1e3 * (thread_time() - started)


@asynccontextmanager
async def beating() -> AsyncIterator[list[Beat]]:
    """A heart that beats beside a block."""
    beats: list[Beat] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_beat, beats)
        await anyio.sleep(5 * EVERY)
        beats.clear()
        yield beats
        await anyio.sleep(5 * EVERY)
        tasks.cancel_scope.cancel()


async def _beat(beats: list[Beat]) -> None:
    """Until cancelled."""
    while True:
        before = _look()
        await anyio.sleep(EVERY)
        after = _look()
        beats.append(
            Beat(
                wall=after.wall - before.wall - EVERY,
                loop_cpu=after.loop_cpu - before.loop_cpu,
                process_cpu=after.process_cpu - before.process_cpu,
                switches=after.switches - before.switches,
            )
        )


def _look() -> Beat:
    switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    return Beat(perf_counter(), thread_time(), process_time(), switches)
