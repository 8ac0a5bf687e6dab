"""The indexes that this process holds, by namespace."""

from __future__ import annotations

import threading
from collections import OrderedDict

from lorabank_faiss.shard import Load, Shard


class Shards:
    """Exact indexes used longest ago are dropped when all of them take too much memory.

    A dropped one is read again from the database when it is next needed; whoever is searching it
    keeps it for as long as that takes.
    """

    def __init__(self, load: Load, patience: float, most_bytes: int) -> None:
        self._load = load
        self._patience = patience
        self._most_bytes = most_bytes
        self._guard = threading.Lock()
        self._shards: OrderedDict[str, Shard] = OrderedDict()

    def of(self, name: str) -> Shard:
        """The index of a namespace, perhaps still to be read."""
        with self._guard:
            shard = self._shards.get(name)
            if shard is None:
                shard = self._shards[name] = Shard(name, self._load, self._patience)
            self._shards.move_to_end(name)
            return shard

    def shrink(self) -> None:
        """Drop what exceeds the memory that is allowed."""
        with self._guard:
            exact = {name: _exact_bytes(shard) for name, shard in self._shards.items()}
            excess = sum(exact.values()) - self._most_bytes
            for name, size in list(exact.items())[:-1]:  # not the one used last
                if excess <= 0:
                    break
                if size:
                    del self._shards[name]
                    excess -= size


def _exact_bytes(shard: Shard) -> int:
    contents = shard.contents
    return 0 if contents is None or contents.main is not None else contents.nbytes
