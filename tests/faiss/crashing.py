"""A process that forks workers which learn, store and delete until they are killed.

``python -m tests.faiss.crashing`` answers as `tests.crash.worker` does, whose lines the log has. In
a worker, a `Personalizer` learns from several tasks, and delivers to a faiss bank; on the same
directory other tasks store and delete, each of them for one user, and in order. Lines that begin
with ``B`` say in JSON what one of these is going to do, and then that it has returned.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np

from lorabank import Clock, Pattern
from lorabank.personalizer import Personalizer
from lorabank.personalizer.upkeep import LEASE
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import FaissStore, Settings, open_store
from tests.crash.worker import CONFIG, LONGEST, Say, feedback, learn_and_say, main
from tests.faiss.samples import pattern, vector

LEARNERS, USERS, WRITERS = 4, 12, 2
DIRECT = "direct"
LARGEST_BATCH = 30
DELETES = 0.2
# Small enough that indexes are built, merged and saved all the time.
LIMITS = {"flat_limit": 64, "tail_limit": 16}


async def learn(place: str, seed: int, say: Say) -> None:
    """Until killed; the two processes of a round have seeds 2 n and 2 n + 1."""
    directory = Path(place)
    options = "&".join(f"{name}={value}" for name, value in LIMITS.items())
    bank, store = f"faiss://{directory}/bank?{options}", f"sqlite:///{directory}/app.db"
    # Each round is so much later that the lease of who was killed has run out: one delivers again.
    clock = Clock(wall=lambda: time.time() + 2 * LEASE * (seed // 2))
    async with (
        Personalizer.open(CONFIG, store=store, bank=bank, clock=clock) as p,
        open_store(Settings(directory / "bank", **LIMITS)) as direct,
        anyio.create_task_group() as tasks,
    ):
        for number in range(LEARNERS):
            tasks.start_soon(keep_learning, p, np.random.default_rng([seed, number]), say)
        for number in range(WRITERS):
            user, rng = f"{seed % 2}-{number}", np.random.default_rng([seed, LEARNERS + number])
            tasks.start_soon(keep_writing, direct, user, f"{user}-{seed}", rng, say)


async def keep_learning(p: Personalizer, rng: np.random.Generator, say: Say) -> None:
    while True:
        await learn_and_say(p, f"user{rng.integers(USERS)}", feedback(rng), say)


async def keep_writing(
    store: FaissStore, user: str, name: str, rng: np.random.Generator, say: Say
) -> None:
    """One user's life."""

    def tell(**what: object) -> None:
        say(f"B {json.dumps({'user': user, **what})}")

    number = 0
    while True:
        number += 1
        if rng.random() < DELETES:
            tell(delete=True)
            await store.delete(DIRECT, PatternFilter(user_key=user))
        else:
            names = [f"{name}-{number}-{n}" for n in range(rng.integers(1, LARGEST_BATCH))]
            seeds = rng.integers(1 << 30, size=len(names)).tolist()
            batch = [
                pattern(one, seed, user_key=user, namespace=DIRECT)
                for one, seed in zip(names, seeds, strict=True)
            ]
            tell(put=names)
            await store.put_many(batch)
        tell(done=number)
        await store.search(DIRECT, vector(number), 5, EVERYTHING)


async def deliver(place: str, seed: int, say: Say) -> None:
    """Learn; give the bank the episode once the pipe ``gate`` opens; never say that it has it."""
    directory, put_many = Path(place), FaissStore.put_many

    async def gated(store: FaissStore, patterns: Sequence[Pattern]) -> None:
        say("B about to")
        await anyio.to_thread.run_sync((directory / "gate").read_bytes)
        await put_many(store, patterns)
        say("B done")
        await anyio.sleep_forever()

    FaissStore.put_many = gated  # type: ignore[method-assign]
    config = replace(CONFIG, outbox=replace(CONFIG.outbox, deadline=LONGEST))
    store, bank = f"sqlite:///{directory}/app.db", f"faiss://{directory}/bank"
    async with Personalizer.open(config, store=store, bank=bank) as p:
        for number in range(2):
            await learn_and_say(p, "ada", feedback(np.random.default_rng(number)), say)
        await anyio.sleep_forever()


if __name__ == "__main__":
    main({"learn": learn, "deliver": deliver})
