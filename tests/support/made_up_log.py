"""A made-up log: users have tastes, and what follows what is not all chance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.sources.table import Dataset, Reading
from lorabank.types.arrays import FloatArray, IntArray

DIM = 12
SMALL = EvaluateSettings(
    rank=4,
    decays=(0.7, 1.0),
    events_per_user=30,
    choose_cells=60_000,
    calibrate_cells=60_000,
    resamples=200,
    choose=0.3,
)


@dataclass(frozen=True, slots=True, eq=False)
class MadeUp:
    """Rows in no particular order: user, item, time (all different) and rating 1..5."""

    user: IntArray
    item: IntArray
    time: IntArray
    rating: IntArray
    vectors: FloatArray

    def dataset(self, *, clock: bool = True) -> Dataset:
        """As reading would give it, ratings of 3 and more being likes."""
        return Dataset(
            name="made up",
            user=self.user.astype(np.int32),
            item=self.item.astype(np.int32),
            liked=self.rating >= 3,
            time=self.time.astype(np.float64),
            vectors=self.vectors,
            clock=clock,
            reading=Reading(rows=len(self.user), users=int(self.user.max()) + 1),
        )

    def write(self, folder: Path) -> tuple[Path, Path]:
        """INTERACTIONS.csv and ITEMS.npz."""
        log, items = folder / "log.csv", folder / "items.npz"
        rows = zip(self.user, self.item, self.time, self.rating, strict=True)
        lines = [f"u{u},i{i},{t},{r}" for u, i, t, r in rows]
        log.write_text("user_id,item_id,timestamp,rating\n" + "\n".join(lines) + "\n")
        names = np.array([f"i{k}" for k in range(len(self.vectors))])
        np.savez(items, item_id=names, vectors=self.vectors)
        return log, items


def made_up(seed: int = 0, users: int = 160, items: int = 80, rows: int = 24) -> MadeUp:
    """Each user begins at a random moment and takes ``rows`` different items near the own taste,
    half of them the successor of the item before."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((items, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    popularity = rng.normal(0, 1, items)
    successor = rng.permutation(items)
    user, item, time = [], [], []
    begins = rng.permutation(users) * 100_000
    for number in range(users):
        taste = 3 * vectors @ vectors[rng.integers(items)] + popularity
        order = np.argsort(-(taste + rng.gumbel(size=items)))[:rows].tolist()
        taken: list[int] = []
        for candidate in order:
            following = int(successor[taken[-1]]) if taken and rng.random() < 0.5 else candidate
            taken.append(candidate if following in taken else following)
        taken = list(dict.fromkeys(taken))
        user += [number] * len(taken)
        item += taken
        time += [int(begins[number]) + 7200 * k for k in range(len(taken))]
    shuffled = rng.permutation(len(user))
    return MadeUp(
        user=np.array(user)[shuffled],
        item=np.array(item)[shuffled],
        time=np.array(time)[shuffled],
        rating=rng.choice([2, 3, 4, 5], len(user), p=[0.1, 0.2, 0.3, 0.4]),
        vectors=vectors,
    )
