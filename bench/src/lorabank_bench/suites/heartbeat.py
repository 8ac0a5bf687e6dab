"""How long the event loop is held: a task that wants its turn every millisecond looks at the clock.

The wall's delay is what an application feels, and counts what the rest of the machine did as well.
So two figures are judged. In every run: what this process can have done of a delay itself
(`beats.Watch.held`). And in the best of the runs: the delay without the time for which there was
no core for the loop, which is where a wait without work, such as for a disk, would show: what
holds the loop by itself does so every time. Controls show the same of a loop beside which
nothing of ours runs.

Python's collector of cycles stops every thread now and then, for as long as it takes to walk the
objects that it looks at. What is imported is left out of that, as a service does (`gc.freeze`).
What a scene keeps is not: how long all of it takes is shown beside the scene, it may fall into any
of its runs; the longest of the small collections that did is shown as well.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import partial
from time import thread_time
from typing import NamedTuple

import numpy as np

from lorabank_bench.beats import Watch, beating, pauses
from lorabank_bench.looping import in_loop
from lorabank_bench.results import Figure, Results
from lorabank_bench.scenes import CONTROLS, SCENES, Scene
from lorabank_bench.setup import Setup

LIMIT = 5.0
RUNS = 3


class Watched(NamedTuple):
    """The runs of one scene; milliseconds of a full collection, and of the longest small one."""

    runs: Sequence[Watch]
    full: float
    small: float


def heartbeat(setup: Setup, results: Results) -> None:
    """Each scene on asyncio and on trio."""
    imports = full_collection()
    results.add(Figure("heartbeat", "imports", "a full collection of cycles", imports, "ms"))
    gc.freeze()
    for backend in ("asyncio", "trio"):
        for name, control in CONTROLS.items():
            found = in_loop(partial(_watched, control, setup), backend)
            _tell(results, f"control: {name}, {backend}", found.runs)
        for name, scene in SCENES.items():
            what = f"{name}, {backend}"
            found = in_loop(partial(_watched, scene, setup), backend)
            _tell(results, what, found.runs)
            collections = {"full": found.full, "longest small": found.small}
            for kind, value in collections.items():
                subject = f"a {kind} collection of cycles"
                results.add(Figure("heartbeat", what, subject, value, "ms"))
            results.mark(f"loop held: {what}", f"<= {LIMIT:g} ms", *judged(found.runs))


def judged(runs: Sequence[Watch]) -> tuple[str, bool]:
    """What was found, and whether it is well."""
    held = sorted(float(run.held.max()) for run in runs)
    late = float(_best(runs).late.max())
    listed = ", ".join(f"{longest:.1f}" for longest in held)
    return f"{listed} ms; at best {late:.1f} ms late", max(held[-1], late) <= LIMIT


def _best(runs: Sequence[Watch]) -> Watch:
    return min(runs, key=lambda run: float(run.late.max()))


def _tell(results: Results, what: str, runs: Sequence[Watch]) -> None:
    """What the runs showed, or the best of them."""
    best = _best(runs)
    figures = {
        "held by this process, worst run": (max(float(run.held.max()) for run in runs), "ms"),
        "longest, wall, worst run": (
            max(float(run.wall.max()) for run in runs),
            "ms",
        ),
        "longest, wall": (float(best.wall.max()), "ms"),
        "p99, wall": (float(np.percentile(best.wall, 99)), "ms"),
        "longest without a core": (float(best.coreless.max()), "ms"),
        "longest, CPU of the loop": (float(best.loop_cpu.max()), "ms"),
        "times the loop's thread lost its core": (float(best.switches.sum()), ""),
    }
    for subject, (value, unit) in figures.items():
        results.add(Figure("heartbeat", what, subject, value, unit))


async def _watched(scene: Scene, setup: Setup) -> Watched:
    found, small = [], 0.0
    async with scene(setup) as work:
        full = full_collection()
        for _ in range(RUNS):
            with pauses() as collections:
                async with beating() as beats:
                    await work()
            found.append(Watch.of(beats))
            small = max(small, collections.longest((0, 1)))
    return Watched(found, full, small)


def full_collection() -> float:
    """Milliseconds of CPU that a collection takes when there is no garbage."""
    gc.collect()
    started = thread_time()
    gc.collect()
    return 1e3 * (thread_time() - started)
