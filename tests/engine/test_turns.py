"""Long work leaves the event loop its turns: worker threads rest, loops over many give way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from tests.engine.people import People
from tests.support.populations import SPACE, make_likes, make_pool, make_population

from lorabank import ConsolidationCriteria, EngineConfig, ReplayConfig, turns
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.adaptation.stacking import prepare_with_experts
from lorabank.clock import Clock
from lorabank.engine import updating
from lorabank.engine.starting import identity_adapter
from lorabank.experts import BoundExperts
from lorabank.population.tasks import ContrastiveTask, MseTask
from lorabank.replay import ExperienceReplay
from lorabank.turns import give_way, in_worker, unhurried
from lorabank.types.feedback import Feedback


class Watch:
    """A clock that moves by hand, and the threads that rested."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rested: list[int] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds < 1e-3
        self.rested.append(threading.get_ident())


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = Watch()
    monkeypatch.setattr(turns, "perf_counter", watch.perf_counter)
    monkeypatch.setattr(turns.time, "sleep", watch.sleep)
    yield watch
    monkeypatch.undo()


def work(watch: Watch, steps: int, seconds: float) -> None:
    for _ in range(steps):
        watch.now += seconds
        give_way()


async def test_a_worker_rests_once_per_stretch(watch: Watch) -> None:
    threads = anyio.CapacityLimiter(1)
    await in_worker(work, watch, 10, 1.01 * turns.STRETCH, limiter=threads)
    assert len(watch.rested) == 10
    assert threading.get_ident() not in watch.rested
    await in_worker(work, watch, 100, 0.26 * turns.STRETCH, limiter=threads)
    assert len(watch.rested) == 10 + 25


@pytest.fixture
def interval() -> Iterator[float]:
    """The interpreter's own; an application's may be set in the test."""
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


async def test_threads_switch_sooner_while_there_are_workers(interval: float) -> None:
    threads = anyio.CapacityLimiter(1)
    both = threading.Barrier(2, timeout=10)
    other = threading.Thread(target=turns.resting, args=(both.wait,))
    seen: list[float] = []

    def work() -> None:
        both.wait()
        other.join(10)
        seen.append(sys.getswitchinterval())

    other.start()
    await in_worker(work, limiter=threads)
    assert seen == [pytest.approx(turns.INTERVAL)], "the other has left, this one has not"
    assert sys.getswitchinterval() == interval
    with pytest.raises(ZeroDivisionError):
        await in_worker(lambda: 1 // 0, limiter=threads)
    assert sys.getswitchinterval() == interval


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_beside_a_worker_has_none() -> None:
    script = """
import os, sys, threading
from lorabank import turns

held, done = threading.Barrier(2, timeout=10), threading.Event()
def work():
    held.wait()
    assert done.wait(10)
worker = threading.Thread(target=turns.resting, args=(work,))
before = sys.getswitchinterval()
worker.start()
held.wait()
assert sys.getswitchinterval() < before
child = os.fork()
if not child:
    forked = sys.getswitchinterval() == before
    within = turns.resting(sys.getswitchinterval) < before
    os._exit(0 if forked and within and sys.getswitchinterval() == before else 1)
done.set()
worker.join(10)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sys.getswitchinterval() == before)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["0", "True"]


@pytest.mark.parametrize("wanted", [1e-4, 1.001e-3, 2e-2])
async def test_what_an_application_sets_stays(interval: float, wanted: float) -> None:
    def set_to_wanted() -> float:
        sys.setswitchinterval(wanted)
        return sys.getswitchinterval()  # in whole microseconds

    threads = anyio.CapacityLimiter(1)
    assert interval > turns.INTERVAL
    kept = await in_worker(set_to_wanted, limiter=threads)
    assert sys.getswitchinterval() == kept, "set beside a worker"
    for _ in range(3):
        found = await in_worker(sys.getswitchinterval, limiter=threads)
        assert found == pytest.approx(min(kept, turns.INTERVAL)), "set before"
        assert sys.getswitchinterval() == kept


async def test_only_a_worker_rests(watch: Watch) -> None:
    work(watch, 10, 1.0)
    await anyio.to_thread.run_sync(work, watch, 10, 1.0)
    assert watch.rested == [], "neither the loop's own thread nor somebody else's"
    failing = anyio.CapacityLimiter(1)
    with pytest.raises(ZeroDivisionError):
        await in_worker(lambda: 1 // 0, limiter=failing)
    await anyio.to_thread.run_sync(work, watch, 10, 1.0, limiter=failing)
    assert watch.rested == [], "and a worker's thread is anybody's when its work is over"


async def test_items_come_unhurried_and_whole(watch: Watch) -> None:
    def take() -> list[int]:
        found = []
        for item in unhurried(range(100), few=10):
            watch.now += turns.STRETCH
            found.append(item)
        return found

    assert await in_worker(take, limiter=anyio.CapacityLimiter(1)) == list(range(100))
    assert len(watch.rested) == 9, "before each few but the first"
    assert list(unhurried([])) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_row_of_updates_gives_way_to_whoever_slept(anyio_backend: str) -> None:
    """On asyncio a sleep's end takes two turns: one row of updates may go before, not two."""
    people, order = People("mse"), []
    loop, gave_way = asyncio.get_running_loop(), 0

    async def first_turn() -> float:
        nonlocal gave_way
        gave_way += 1
        if gave_way == 1:
            # As the end of a sleep: one turn for the timer that is due, one for who waits for it.
            loop.call_at(loop.time(), loop.call_soon, order.append, "slept")
        rested = await give()
        order.append("update")
        return rested

    async with Engine(people.config()) as engine:
        updater = engine._updater
        give, updater._give_way = updater._give_way, first_turn
        updater._rested = float("-inf")
        adapter = await engine.create_adapter("ada")
        x = np.ones((2, people.low_rank.shape[0]), np.float32)
        await engine.update_adapter(adapter, Feedback(x, x))
    assert order == ["slept", "update"]


@pytest.mark.parametrize("objective", ["mse", "contrastive"])
async def test_consolidation_looks_at_no_row_on_the_loop(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    task = MseTask if objective == "mse" else ContrastiveTask
    judged = task.judged.fget
    assert judged is not None

    def noting(self: object) -> np.ndarray:
        seen.add(threading.get_ident())
        return judged(self)

    monkeypatch.setattr(task, "judged", property(noting))
    people = People(objective)
    async with Engine(people.config(), "memory://", items=people.items) as engine:
        await people.live(engine)
        report = await engine.consolidate_adaptation_patterns(ConsolidationCriteria(max_groups=0))
    assert report.groups[0].kept
    assert seen
    assert threading.get_ident() not in seen


async def test_a_large_replay_is_read_by_and_by() -> None:
    replay, ticks = ExperienceReplay(ReplayConfig()), 0
    x = np.ones((1, 2), np.float32)
    for number in range(5_000):
        replay.add(f"user {number % 2_000}", Feedback(x, x), now=0.0)

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1
            replay.forget(f"user {1_900 + ticks}")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await anyio.lowlevel.checkpoint()
        found = await replay.snapshot(0.0)
        tasks.cancel_scope.cancel()
    assert ticks >= 3
    assert sum(map(len, found.values())) >= 5_000 - 3 * (ticks + 1)
    assert f"user {1_900 + ticks}" not in found, "who was forgotten meanwhile is not in it"


def test_the_first_updates_import_nothing() -> None:
    """numpy has parts that it imports when they are first used, and that would be on the loop."""
    script = """
import sys, anyio, numpy as np
from lorabank import EmbeddingSpace, EngineConfig, Feedback, LoRAPersonalizationEngine

async def main():
    config = EngineConfig(EmbeddingSpace("test", 16), rank=2)
    async with LoRAPersonalizationEngine(config, "memory://") as engine:
        known = set(sys.modules)
        adapter = await engine.create_adapter("ada")
        x = np.ones((4, 16), np.float32)
        for _ in range(12):
            adapter, _ = await engine.update_adapter(adapter, Feedback(x, 0.5 * x))
        await engine.flush()
        print(*sorted({name.partition(".")[0] for name in set(sys.modules) - known}))

anyio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=120
    )
    assert "numpy" not in done.stdout.split()


@pytest.mark.parametrize(("count", "inline"), [(10, True), (1000, False)])
async def test_many_logits_of_short_vectors_are_no_work_for_the_loop(
    count: int, inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """280,000 of them take milliseconds, few as their components are."""
    threads = []

    def watched(*arguments: Any) -> Any:
        threads.append(threading.get_ident())
        return prepare_with_experts(*arguments)

    monkeypatch.setattr(updating, "prepare_with_experts", watched)
    pool = make_pool()
    config = EngineConfig(SPACE, rank=2, objective="contrastive")
    replay = ExperienceReplay(ReplayConfig())
    updater = updating.Updater(config, pool, replay, Clock(), anyio.CapacityLimiter(1))
    rng = np.random.default_rng(0)
    adapter = identity_adapter(config, "ada", rng)
    likes, experts = make_likes(rng, count), BoundExperts(make_population(), pool)
    await updater.update(adapter, likes, None, None, experts)
    assert (threads == [threading.get_ident()]) is inline
