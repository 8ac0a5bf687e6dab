"""How long the event loop is held: a task that wants its turn every millisecond looks at the clock.

The wall's delay is what an application feels, and counts what the rest of the machine did as well.
So two figures are judged. In every run: what this process can have done of a delay itself
(`beats.Watch.held`), which leaves out when the machine stood still (`stalls`). And in the best of
the runs: the delay without the time for which there was no core for the loop, which is where a wait
without work, such as for a disk, would show: what holds the loop by itself does so every time.
Controls show the same of a loop beside which nothing of ours runs.

Of both the machine's slowness to give memory for the first time is left out (`stock`).

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

import anyio.lowlevel
import numpy as np

from lorabank.bank.discovery import find_backend
from lorabank_bench.beats import Watch, beating, pauses
from lorabank_bench.looping import in_loop
from lorabank_bench.results import Figure, Results
from lorabank_bench.scenes import CONTROLS, SCENES, Scene
from lorabank_bench.setup import Setup
from lorabank_bench.stalls import Sentinels, sentinels
from lorabank_bench.stock import first_touches, keep

LIMIT = 5.0
RANKS = ("best", "middle", "worst")
BACKENDS = ("asyncio", "trio")
FULL = "a full collection of cycles"
MEMORY, TOUCHED = "memory of this machine", "2 MB, touched for the first time"
STOCK = 3 << 30
BOUND = "see [the event loop](#the-event-loop)"


class Watched(NamedTuple):
    """The runs of one scene; milliseconds of a full collection, and of the longest small one."""

    runs: Sequence[Watch]
    full: float
    small: float


class Place(NamedTuple):
    """Where scenes are watched."""

    setup: Setup
    backend: str
    sentinels: Sentinels


def heartbeat(setup: Setup, results: Results) -> None:
    """Each scene on asyncio and on trio."""
    for scheme in ("memory", "faiss"):
        find_backend(scheme)  # what is imported later would not be frozen
    for backend in BACKENDS:
        in_loop(anyio.lowlevel.checkpoint, backend)
    imports = full_collection()
    gc.freeze()
    _have_memory(setup, results)
    with sentinels() as watching:
        places = [Place(setup, backend, watching) for backend in BACKENDS]
        for place in places:
            results.add(Figure(_section(place.backend), "imports", FULL, imports, "ms"))
            for name, control in CONTROLS.items():
                _tell(results, place.backend, f"control: {name}", _watch(control, place))
        for name, scene in SCENES.items():
            _judge(name, scene, places, results)


def _have_memory(setup: Setup, results: Results) -> None:
    """Show how long the machine takes to give some, and have enough of it."""
    found = first_touches()
    if len(found):
        for subject, value in (("median", np.median(found)), ("longest", found.max())):
            results.add(Figure(MEMORY, TOUCHED, subject, float(value), "ms"))
    kept = STOCK // 50 if setup.quick else STOCK
    if not keep(kept):
        kept = 0
    results.add(Figure(MEMORY, "had before the loop is watched", "size", kept / (1 << 30), "GiB"))


def _judge(name: str, scene: Scene, places: Sequence[Place], results: Results) -> None:
    verdicts = []
    for place in places:
        found = _watch(scene, place)
        _tell(results, place.backend, name, found)
        verdicts.append(judged(found.runs))
    shown = "; ".join(f"{b} {held}" for b, (held, _) in zip(BACKENDS, verdicts, strict=True))
    well = all(good for _, good in verdicts)
    results.mark(f"loop held: {name}", f"<= {LIMIT:g} ms", f"{shown} ms", well, BOUND)


def judged(runs: Sequence[Watch]) -> tuple[str, bool]:
    """What was found, in ms, and whether it is well."""
    held, late = _held(runs), float(_best(runs).late.max())
    listed = ", ".join(f"{longest:.1f}" for longest in held)
    return f"{listed} (late: {late:.1f})", max(held[-1], late) <= LIMIT


def _held(runs: Sequence[Watch]) -> Sequence[float]:
    """The longest of each run, ascending."""
    return sorted(float(run.held.max()) for run in runs)


def _best(runs: Sequence[Watch]) -> Watch:
    return min(runs, key=lambda run: float(run.late.max()))


def _tell(results: Results, backend: str, what: str, found: Watched) -> None:
    """What the runs showed, or the best of them; more of it for the JSON."""
    runs, best = found.runs, _best(found.runs)
    section = _section(backend)
    for turn, held in enumerate(_held(runs)):
        results.add(Figure(section, what, f"held, {RANKS[turn]} run", held, "ms"))
    for subject, value in (
        ("late, best run", float(best.late.max())),
        ("p99 of the wall's delay, best run", float(np.percentile(best.wall, 99))),
        ("longest of it, worst run", max(float(run.wall.max()) for run in runs)),
        ("of that the machine stood still", _stalled(runs)),
        (FULL, found.full),
        ("longest small one", found.small),
    ):
        results.add(Figure(section, what, subject, value, "ms"))
    for subject, value, unit in (
        ("longest without a core", float(best.coreless.max()), "ms"),
        ("longest, CPU of the loop", float(best.loop_cpu.max()), "ms"),
        ("times the loop's thread lost its core", float(best.switches.sum()), ""),
    ):
        results.add(Figure(section, what, subject, value, unit, detail=True))


def _section(backend: str) -> str:
    return f"the event loop, {backend}"


def _stalled(runs: Sequence[Watch]) -> float:
    """Milliseconds of the longest delay of all runs for which the machine stood still."""
    worst = max(runs, key=lambda run: float(run.wall.max()))
    return float(worst.stalled[worst.wall.argmax()])


def _watch(scene: Scene, place: Place) -> Watched:
    return in_loop(partial(_watched, scene, place), place.backend)


async def _watched(scene: Scene, place: Place) -> Watched:
    found, small = [], 0.0
    async with scene(place.setup) as work:
        full = full_collection()
        for _ in RANKS:
            with pauses() as collections:
                async with beating() as beats:
                    await work()
            found.append(Watch.of(beats, place.sentinels.stalls()))
            small = max(small, collections.longest((0, 1)))
    return Watched(found, full, small)


def full_collection() -> float:
    """Milliseconds of CPU that a collection takes when there is no garbage."""
    gc.collect()
    started = thread_time()
    gc.collect()
    return 1e3 * (thread_time() - started)
