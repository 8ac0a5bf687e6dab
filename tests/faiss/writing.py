"""A process that writes: ``python -m tests.faiss.writing DIRECTORY NAME COUNT [MOST_BYTES]``.

Prints the id of each pattern that was acknowledged, and the class of the error that ended it, if
one did. MOST_BYTES is how large its files may become: to the system, the disk is full then.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from lorabank.errors import LorabankError
from lorabank_faiss import Settings, open_store
from tests.faiss.samples import pattern

BATCH = 10


async def main(directory: Path, name: str, count: int) -> None:
    """Put patterns in small batches."""
    async with open_store(Settings(directory, busy_timeout=60.0)) as store:
        for start in range(0, count, BATCH):
            ids = [f"{name}-{n}" for n in range(start, start + BATCH)]
            await store.put_many([pattern(one, n) for n, one in enumerate(ids, start)])
            sys.stdout.write("".join(f"{one}\n" for one in ids))


if __name__ == "__main__":
    if len(sys.argv) > 4:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
    try:
        anyio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    except LorabankError as exc:
        sys.stdout.write(f"{type(exc).__name__}\n")
