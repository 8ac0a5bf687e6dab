"""When the machine stood still: a host that takes a processor away, as it is seen from inside.

On each processor a process of real-time priority wants its turn twice a millisecond. Nothing that
runs there keeps it from that; so where it is late, nothing ran. Linux does not tell this exactly:
it counts stolen time in hundredths of a second, and some of it as the running thread's own.

Started as a program, with the number of a processor, this module is such a process; it imports
nothing else of the package.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

EVERY, LATE = 5e-4, 4e-4  # seconds
PRIORITY = 50
_END = 10.0


class Stalls:
    """Stretches of time, in seconds of `time.perf_counter`, in which a processor stood still."""

    def __init__(self, found: Iterable[tuple[float, float]]) -> None:
        """From what each processor's watch saw; stretches that overlap become one."""
        self._begins: list[float] = []
        self._ends: list[float] = []
        for begin, end in sorted(found):
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._begins.append(begin)
                self._ends.append(end)

    def __len__(self) -> int:
        return len(self._begins)

    def between(self, begin: float, end: float) -> float:
        """Seconds of them from ``begin`` to ``end``."""
        total = 0.0
        for place in range(bisect_right(self._ends, begin), len(self)):
            if self._begins[place] >= end:
                break
            total += min(end, self._ends[place]) - max(begin, self._begins[place])
        return total


class Sentinels:
    """What the processes have seen so far."""

    def __init__(self, notes: Iterable[Path]) -> None:
        self._notes = tuple(notes)

    @property
    def watching(self) -> bool:
        """Whether there are any: they need Linux, and the right to a real-time priority."""
        return bool(self._notes)

    def stalls(self) -> Stalls:
        """Read their notes."""
        lines = [line for note in self._notes for line in note.read_text().split("\n")[:-1]]
        return Stalls((float(begin), float(end)) for begin, end in map(str.split, lines))


@contextmanager
def sentinels() -> Iterator[Sentinels]:
    """One on each of our processors, until the block ends."""
    processors = sorted(os.sched_getaffinity(0)) if _is_permitted() else []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        notes = [folder / str(processor) for processor in processors]
        for processor, note in zip(processors, notes, strict=True):
            stack.enter_context(_sentinel(processor, note))
        yield Sentinels(notes)


def _is_permitted() -> bool:
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        os.sched_setscheduler(0, *before)
    except (AttributeError, OSError):
        return False
    return True


@contextmanager
def _sentinel(processor: int, note: Path) -> Iterator[None]:
    command = [sys.executable, "-I", "-S", __file__, str(processor), str(note)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()  # it stands
            yield
        finally:
            child.terminate()
            child.wait(_END)


def _stand_guard(processor: int, note: Path) -> None:
    """Until this process is ended, or its parent is."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    gc.disable()
    parent = os.getppid()
    with note.open("w", buffering=1) as out:
        print("ready", flush=True)  # noqa: T201 - to the parent
        due = perf_counter() + EVERY
        while os.getppid() == parent:
            time.sleep(max(0.0, due - perf_counter()))
            now = perf_counter()
            if now - due > LATE:
                out.write(f"{due!r} {now!r}\n")
            due = now + EVERY


if __name__ == "__main__":
    _stand_guard(int(sys.argv[1]), Path(sys.argv[2]))
