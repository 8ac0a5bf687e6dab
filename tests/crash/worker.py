"""A process that forks workers on demand; everything is imported only once.

Lines on stdin: ``KIND SEED URL LOG``; on stdout the worker's pid. ``wait PID`` waits for a worker's
end and prints its exit code. What a worker did is in its log, line by line: ``A user version id``
when `learn` has returned (id: its finished episode, or ``-``), ``D id`` when the bank has taken an
episode, ``E type`` for an error.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import anyio
import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, Feedback, OutboxConfig, Pattern, StandardBank
from lorabank.errors import StoreError, StoreUnavailableError
from lorabank.personalizer import Personalizer
from lorabank_memory import MemoryStore

DIM = 16
CONFIG = EngineConfig(EmbeddingSpace("crash", DIM), rank=2, outbox=OutboxConfig(drain=60.0))
Say = Callable[[str], None]
# A worker that nobody kills ends by itself.
LONGEST = 100.0


class LoggingBank(StandardBank):
    """Says what it has taken before it says so to the engine."""

    def __init__(self, say: Say) -> None:
        super().__init__(MemoryStore())
        self._say = say

    async def store_patterns(self, patterns: Sequence[Pattern]) -> None:
        await super().store_patterns(patterns)
        for pattern in patterns:
            self._say(f"D {pattern.id}")


def feedback(rng: np.random.Generator, rows: int = 2) -> Feedback:
    x = rng.standard_normal((rows, DIM)).astype(np.float32)
    return Feedback(x, 0.5 * x)


async def learn_and_say(p: Personalizer, user: str, batch: Feedback, say: Say) -> None:
    report = await p.learn(user, batch)
    found = await p._parts.store.get(user)
    assert found is not None
    say(f"A {user} {found.adapter.version} {report.finished.id if report.finished else '-'}")


async def crash(url: str, seed: int, say: Say) -> None:
    """Learn side by side until killed."""
    async with Personalizer.open(CONFIG, store=url, bank=LoggingBank(say)) as p:

        async def one(number: int) -> None:
            rng = np.random.default_rng([seed, number])
            while True:
                await learn_and_say(p, f"user{rng.integers(12)}", feedback(rng), say)

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(one, number)


async def contend(url: str, seed: int, say: Say) -> None:
    """Learn the same 50 users as everybody else for some time, then say how often."""
    seconds = float(os.environ["CONTEND_SECONDS"])
    async with Personalizer.open(CONFIG, store=url) as p:
        end, counts = time.monotonic() + seconds, [0] * 4

        async def one(number: int) -> None:
            rng = np.random.default_rng([seed, number])
            while time.monotonic() < end:
                await p.learn(f"user{rng.integers(50)}", feedback(rng))
                counts[number] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(one, number)
        say(f"C {sum(counts)}")


async def full(url: str, seed: int, say: Say) -> None:
    """Learn until the disk is full, make room, and learn on.

    There is room again when the file "ballast" beside the database goes; without one, it is a limit
    on the size of files that is lifted.
    """
    rng = np.random.default_rng(seed)
    ballast = Path(url.removeprefix("sqlite:///")).with_name("ballast")
    async with Personalizer.open(CONFIG, store=url, bank=LoggingBank(say)) as p:
        await learn_and_say(p, "user0", feedback(rng), say)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        if not ballast.exists():
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
        try:
            while True:
                await learn_and_say(p, f"user{rng.integers(5)}", feedback(rng, 200), say)
        except StoreError as exc:
            say(f"E {type(exc).__name__}")
            passing = isinstance(exc, StoreUnavailableError)
        x = feedback(rng).x
        assert passing
        await p.transform("user0", x)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        ballast.unlink(missing_ok=True)
        for number in range(5):
            await learn_and_say(p, f"user{number}", feedback(rng), say)


async def unprivileged(url: str, seed: int, say: Say) -> None:
    """Open it as nobody in particular."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        async with Personalizer.open(CONFIG, store=url) as p:
            await learn_and_say(p, "user0", feedback(np.random.default_rng(seed)), say)
    except StoreError as exc:
        say(f"E {type(exc).__name__} {exc}")


Kinds = Mapping[str, Callable[[str, int, Say], Awaitable[None]]]
KINDS: Kinds = {
    "crash": crash,
    "contend": contend,
    "full": full,
    "unprivileged": unprivileged,
}


def work(kinds: Kinds, kind: str, seed: int, url: str, log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    async def bounded() -> None:
        with anyio.fail_after(LONGEST):
            await kinds[kind](url, seed, say)

    anyio.run(bounded, backend=("asyncio", "trio")[seed % 2])


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main(kinds: Kinds) -> None:
    for line in sys.stdin:
        words = line.split()
        if words[0] == "wait":
            _, status = os.waitpid(int(words[1]), 0)
            answer(os.waitstatus_to_exitcode(status))
            continue
        kind, seed, url, log = words
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(kinds, kind, int(seed), url, log)
                code = 0
            except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        answer(pid)


if __name__ == "__main__":
    main(KINDS)
