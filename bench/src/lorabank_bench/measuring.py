"""Timing loops: everything that is compared runs in turns, A B A B, within one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

Runner = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Case:
    """Something to time: ``run(n)`` does it n times and returns the seconds that this took."""

    name: str
    run: Runner


def case(name: str, work: Callable[[], object], clock: Callable[[], float] = perf_counter) -> Case:
    """A case that calls ``work``. With `time.thread_time`, only this thread's own time counts."""

    def run(count: int) -> float:
        turns = range(count)
        started = clock()
        for _ in turns:
            work()
        return clock() - started

    return Case(name, run)


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds per operation of each case, one entry per round."""

    rounds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Seconds per operation."""
        return statistics.median(self.rounds[name])

    def best(self, name: str) -> float:
        """Seconds per operation in the quietest round."""
        return min(self.rounds[name])

    def ratio(self, name: str, to: str) -> float:
        """Median over the rounds of how many times as long ``name`` took as ``to``."""
        pairs = zip(self.rounds[name], self.rounds[to], strict=True)
        return statistics.median(own / other for own, other in pairs)


def interleaved(cases: Sequence[Case], *, rounds: int, seconds: float) -> Timings:
    """Every case once per round; each turn lasts about ``seconds``."""
    counts = {one.name: _calibrated(one, seconds) for one in cases}
    found: dict[str, list[float]] = {one.name: [] for one in cases}
    for _ in range(rounds):
        for one in cases:
            count = counts[one.name]
            found[one.name].append(one.run(count) / count)
    return Timings(found)


def _calibrated(one: Case, seconds: float) -> int:
    """How many operations take about that long; warms the case up."""
    count, spent = 1, one.run(1)
    while spent < seconds / 4 and count < 10_000_000:
        count *= 4
        spent = one.run(count)
    return max(1, round(count * seconds / max(spent, 1e-9)))
