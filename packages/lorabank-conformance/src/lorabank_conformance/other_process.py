"""The process at the other end of `lorabank_conformance.elsewhere`.

Each line on stdin is a JSON array, the name of a work and its arguments; a line on stdout answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from lorabank.protocols import PatternStore
from lorabank.types.space import EmbeddingSpace
from lorabank_conformance.adapters.processes import commit, count_up, version
from lorabank_conformance.samples import Samples
from lorabank_conformance.stores.processes import put, refuse, see
from lorabank_conformance.target import place_of

WORKS: dict[str, Callable[..., Awaitable[Any]]] = {
    "put": put,
    "see": see,
    "refuse": refuse,
    "commit": commit,
    "count_up": count_up,
    "version": version,
}


async def serve(text: str, directory: str, space: EmbeddingSpace) -> None:
    """Do what is asked until nobody asks any more."""
    place, _ = place_of(text)
    make = Samples(space)
    async with place(Path(directory))() as subject:
        if isinstance(subject, PatternStore):
            await subject.bind(space)
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            what, *arguments = json.loads(line)
            answer = await WORKS[what](subject, make, *arguments)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def main(about: str) -> None:
    """Serve; ``about`` is what `elsewhere` says: address and embedding space, as JSON."""
    text, directory, name, dim, normalised = json.loads(about)
    space = EmbeddingSpace(name, dim, normalised=normalised)
    anyio.run(partial(serve, text, directory, space))


if __name__ == "__main__":
    main(sys.argv[1])
