"""A process that writes and deletes until it is killed.

``python -m tests.faiss.crashing DIRECTORY NAME SEED``. Each of its tasks owns one user and does one
thing after the other. A line on standard output says what is going to be done, and another that it
has returned: that is the acknowledgement.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import numpy as np

from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import FaissStore, Settings, open_store
from tests.faiss.samples import NAMESPACE, pattern, vector

USERS = 4
LARGEST_BATCH = 30
DELETES = 0.2
# Small enough that indexes are built, merged and saved all the time.
LIMITS = {"flat_limit": 64, "tail_limit": 16}


def say(**what: object) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def act(store: FaissStore, user: str, rng: np.random.Generator) -> None:
    """One user's life."""
    number = 0
    while True:
        number += 1
        if rng.random() < DELETES:
            say(user=user, op=number, delete=True)
            await store.delete(NAMESPACE, PatternFilter(user_key=user))
        else:
            names = [f"{user}-{number}-{n}" for n in range(rng.integers(1, LARGEST_BATCH))]
            batch = [pattern(name, int(rng.integers(1 << 30)), user_key=user) for name in names]
            say(user=user, op=number, put=names)
            await store.put_many(batch)
        say(user=user, done=number)
        await store.search(NAMESPACE, vector(number), 5, EVERYTHING)


async def main(directory: Path, name: str, seed: int) -> None:
    """Several users at once."""
    async with (
        open_store(Settings(directory, **LIMITS)) as store,
        anyio.create_task_group() as all_,
    ):
        for user in range(USERS):
            all_.start_soon(act, store, f"{name}-{user}", np.random.default_rng([seed, user]))


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
