"""The indexes that this process holds, by namespace."""

from __future__ import annotations

import threading
from collections import OrderedDict

from lorabank_faiss.shard import Load, Shard

_MOST = 10_000


class Shards:
    """Exact indexes and trials used longest ago are dropped when all of them take too much memory.

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
                self._make_room()
                shard = self._shards[name] = Shard(name, self._load, self._patience)
            self._shards.move_to_end(name)
            return shard

    def all(self) -> list[Shard]:
        """Those that are held, the one used last at the end."""
        with self._guard:
            return list(self._shards.values())

    def _make_room(self) -> None:
        while len(self._shards) >= _MOST:
            name = next((n for n, shard in self._shards.items() if not shard.approximate), None)
            if name is None:
                return
            del self._shards[name]

    def shrink(self) -> None:
        """Drop what exceeds the memory that is allowed, and those that hold nothing."""
        with self._guard:
            sizes = {name: _bytes(shard) for name, shard in self._shards.items()}
            excess = sum(sizes.values()) - self._most_bytes
            for name, size in list(sizes.items())[:-1]:  # not the one used last
                shard = self._shards[name]
                if shard.approximate:
                    if excess > 0:
                        excess -= shard.trials.nbytes
                        shard.trials.drop()
                elif excess > 0 or (not size and shard.contents is None):
                    del self._shards[name]
                    excess -= size


def _bytes(shard: Shard) -> int:
    """What may be dropped: trials, and an exact index."""
    contents = shard.contents
    exact = 0 if contents is None or shard.approximate else contents.nbytes
    return exact + shard.trials.nbytes
