"""What `Personalizer.forward_many` pays for user ids: nanoseconds of processor time for each.

    uv run python bench/benchmarks/looking_up.py

The first column is the floor of any lookup in Python: a dictionary asked for each of 100,000 ids.
Caches are emptied before each turn, as the arithmetic in between does it; medians of the turns.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Sequence
from time import thread_time

import numpy as np

from lorabank import Adapter, EmbeddingSpace, Weights
from lorabank.arena import Arena
from lorabank.personalizer.hot import Hot, HotAdapters
from lorabank.personalizer.places import ROW

USERS, AT_ONCE, TURNS = 100_000, 4096, 11
OTHER_MEMORY = np.ones(8_000_000)


def main() -> None:
    """Measure, and print a table."""
    ids = [f"user {number}" for number in range(USERS)]
    adapters, index = full(ids), {user: number for number, user in enumerate(ids)}
    places, table = np.empty(USERS, np.int64), np.empty(USERS, ROW)

    def ask(users: Sequence[str]) -> None:
        np.fromiter(map(index.__getitem__, users), np.int64, USERS)

    def find(users: Sequence[str]) -> None:
        for start in range(0, USERS, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            assert adapters.find(users[part], places[part], table[part])

    def same(users: Sequence[str]) -> None:
        assert users[:-1] == last

    mixed = random.Random(0).sample(ids, USERS)
    lists = {
        "in the order they came": ids,
        "the same, other objects": [f"user {number}" for number in range(USERS)],
        "at random": mixed,
    }
    columns = ("ns for each id", "dictionary alone", "all hot ones found", "seen to be the last's")
    sys.stdout.write(f"| {' | '.join(columns)} |\n|---|---|---|---|\n")
    for name, users in lists.items():
        last = ids[:-1] if name != "at random" else mixed[:-1]
        cells = (each(work, users) for work in (ask, find, same))
        sys.stdout.write(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |\n")


def each(work: Callable[[Sequence[str]], None], users: Sequence[str]) -> float:
    """Nanoseconds for each user, out of cache."""
    seconds = []
    for _ in range(TURNS):
        OTHER_MEMORY.sum()
        started = thread_time()
        work(users)
        seconds.append(thread_time() - started)
    return 1e9 * statistics.median(seconds) / USERS


def full(ids: Sequence[str]) -> HotAdapters:
    """Everybody is hot."""
    arena, adapters, space = Arena(8, 4), HotAdapters(USERS, 1 << 40), EmbeddingSpace("bench", 8)
    weights = Weights(np.ones((4, 8), np.float32), np.ones((8, 4), np.float32))
    for user in ids:
        lease = arena.put(weights)
        adapter = Adapter(user, lease.weights(), 4.0, "lora", "mse", space)
        adapters.put(user, Hot(adapter, 1, 0.0, lease))
    return adapters


if __name__ == "__main__":
    main()
