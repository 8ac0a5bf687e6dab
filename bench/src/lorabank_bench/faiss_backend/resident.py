"""Memory of an open store: ``python -m lorabank_bench.faiss_backend.resident DIRECTORY``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import numpy as np

from lorabank.types.query import EVERYTHING
from lorabank_faiss import Settings, open_store


def resident() -> int:
    """Bytes that this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def main(directory: Path) -> None:
    """Open, search once, and say what that took."""
    before = resident()
    async with open_store(Settings(directory)) as store:
        assert store.space is not None
        await store.search("default", np.ones(store.space.dim, np.float32), 5, EVERYTHING)
        sys.stdout.write(str(resident() - before))


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
