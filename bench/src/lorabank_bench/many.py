"""Many adapters in one call, beside the memory's own speed: cases to time in turns.

    python -m lorabank_bench.many [seconds]

prints, for each shape, the share of the memory's bandwidth that the calls reach: what they have to
read or write (adapters, inputs, outputs) over what plain loops read, or rewrite, in the same time.
Once with adapters in the order of their slots, once at random.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from time import perf_counter, thread_time

import numpy as np

from lorabank import Kernel, Weights, open_kernel
from lorabank.arena import Arena, Group

SHAPES = ((100_000, 64, 4), (20_000, 384, 8))
# Users per call of `update_many`: those that learn at about the same time.
TOGETHER = 256


class Many:
    """An arena full of adapters, in an order of its own, and one item for each.

    Attributes:
        forward_bytes, update_bytes: what has to be read, or read and rewritten, by a call for all.
    """

    def __init__(self, users: int, dim: int, rank: int, kernel: Kernel) -> None:
        rng = np.random.default_rng(0)
        self.arena = Arena(dim, rank, kernel)
        A = rng.standard_normal((rank, dim), np.float32) / np.float32(dim**0.5)
        weights = Weights(A, 0.01 * rng.standard_normal((dim, rank), np.float32))
        leases = [self.arena.put(weights) for _ in range(users)]
        self.in_order = self.arena.group(leases)
        self.shuffled = self.arena.group([leases[i] for i in rng.permutation(users)])
        self.group = self.in_order
        self.X = rng.standard_normal((users, dim), np.float32)
        self.T = 0.9 * self.X
        self.out = np.empty_like(self.X)
        blocks = users * rank * dim * 8
        self.forward_bytes = blocks + self.X.nbytes + self.out.nbytes
        self.update_bytes = blocks + (self.X.nbytes + self.T.nbytes) // 2  # read, not written
        self._flat = np.ones(blocks // 4, np.float32)
        self.flat_bytes = blocks

    def read(self) -> None:
        """The reference: `flat_bytes`, read in order."""
        np.vdot(self._flat, self._flat)

    def rewrite(self) -> None:
        """The reference: `flat_bytes`, read and written in place."""
        np.multiply(self._flat, np.float32(1.0), out=self._flat)

    def forward(self) -> None:
        """Every user's item through the user's adapter, in one call."""
        self.arena.forward_many(self.group, 1.0, self.X, self.out)

    def update(self) -> None:
        """One item learned by every user, `TOGETHER` users to a call, into new slots."""
        for start in range(0, len(self.X), TOGETHER):
            part = slice(start, start + TOGETHER)
            group = Group(self.group.leases[part], self.group.slots[part], distinct=True)
            self.arena.update_many(
                group, 1.0, self.X[part], self.T[part], learning_rates=0.3, clip_thresholds=1.0
            )

    def update_in_place(self) -> None:
        """The same in one call, into the slots that it reads from."""
        self.arena.update_many(
            self.group,
            1.0,
            self.X,
            self.T,
            learning_rates=1e-6,
            clip_thresholds=1.0,
            in_place=True,
        )


def shares(many: Many, seconds: float) -> dict[str, float]:
    """The reference's time over that of each call: medians over rounds, in turns."""
    forward, update = many.forward_bytes / many.flat_bytes, many.update_bytes / many.flat_bytes
    pairs: dict[str, tuple[Callable[[], None], Callable[[], None], float]] = {
        "forward_many": (many.forward, many.read, forward),
        "update_many": (many.update, many.rewrite, update),
        "update_many in place": (many.update_in_place, many.rewrite, update),
    }
    found: dict[str, list[float]] = {name: [] for name in pairs}
    ends = perf_counter() + seconds
    while perf_counter() < ends or len(found["forward_many"]) < 3:
        for name, (call, reference, factor) in pairs.items():
            spent = [_time(reference), _time(call), _time(reference)]
            found[name].append(factor * (spent[0] + spent[2]) / 2 / spent[1])
    return {name: statistics.median(ratios) for name, ratios in found.items()}


def _time(call: Callable[[], None]) -> float:
    """Seconds of the processor: what others take of a shared machine does not count."""
    started = thread_time()
    call()
    return thread_time() - started


def main(seconds: float = 10.0) -> None:
    """Every shape."""
    kernel = open_kernel()
    for users, dim, rank in SHAPES:
        many = Many(users, dim, rank, kernel)
        read = many.flat_bytes / min(_time(many.read) for _ in range(5)) / 1e9
        sys.stdout.write(f"{users} users at {dim}/r{rank}, {kernel.name}, {read:.1f} GB/s read\n")
        for order in ("in_order", "shuffled"):
            many.group = getattr(many, order)
            for name, share in shares(many, seconds).items():
                sys.stdout.write(f"  {order}, {name}: {share:.0%} of the memory's bandwidth\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
