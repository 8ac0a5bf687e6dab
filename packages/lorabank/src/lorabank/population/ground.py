"""What all parts of the training stand on: rows, their users' split, and what was on offer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lorabank.config import ContrastiveConfig, PriorConfig
from lorabank.population.recent import recent_likes
from lorabank.population.rows import Rows, Split, split_users
from lorabank.population.tasks import user_weights
from lorabank.population_config import PopulationConfig
from lorabank.types.arrays import BoolArray, FloatArray, IntArray
from lorabank.types.items import ItemPool

# Elements of a (rows, items) block: bounds the memory of whatever looks at the whole pool.
BLOCK = 1 << 22
# A product of fewer rows with all items waits for memory; for these, blocks are larger.
ROWS, LARGEST = 32, BLOCK << 3
FEW = 512
# A proof looks at its rows once, and so it may look at more of them than a calibration.
PROOF = 4
# Elements (rows, items) that choices look at: where the catalogue is large, fewer rows.
JUDGED = 1 << 25
LEAST_JUDGED = 128


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Rows of all users, with what is chosen by whom.

    Attributes:
        rows: the newest of each user.
        liked: (M,) which rows are likes: what is counted, and looked back at. Those of some weight
            are to be predicted.
        split: of the users.
        pool: the items, with a popularity that does not know the users held out.
        served: the items as they are served.
        stop, proof: (n,) rows to be predicted of held-out users, to choose by and to prove on.
    """

    rows: Rows
    liked: BoolArray
    split: Split
    pool: ItemPool
    served: ItemPool
    stop: IntArray
    proof: IntArray

    @property
    def predicted(self) -> BoolArray:
        """(M,) which rows are to be predicted."""
        return self.liked & (self.rows.weight > 0)

    @property
    def fit(self) -> IntArray:
        """The rows to be predicted of the users that are fitted."""
        positions = self.rows.of_users(self.split.fit)
        return positions[self.predicted[positions]]

    @property
    def counted(self) -> IntArray:
        """All likes of the users that are fitted."""
        positions = self.rows.of_users(self.split.fit)
        return positions[self.liked[positions]]

    @property
    def some(self) -> IntArray:
        """Every other of the rows to choose by: enough to tell one epoch from the next."""
        return self.stop[::2] if len(self.stop) > FEW else self.stop

    @property
    def held_out(self) -> IntArray:
        """All rows to choose by and to prove on: for what is neither trained nor proved."""
        return np.concatenate([self.stop, self.proof])

    def stop_of(self, users: BoolArray) -> IntArray:
        """The rows to choose by of some users."""
        return self.stop[users[self.rows.user[self.stop]]]

    @property
    def everyone(self) -> BoolArray:
        """(users,) all of them."""
        return np.ones(len(self.rows.keys), np.bool_)

    def with_everyone(self) -> Ground:
        """The same ground for the last training: nobody is held out, and popularity is whole."""
        split = Split(self.everyone, ~self.everyone, ~self.everyone)
        return replace(self, split=split, pool=self.served.without(np.zeros(0, np.int64)))

    def items(self, positions: IntArray) -> IntArray:
        """(n,) the rows' items."""
        assert self.rows.items is not None
        return self.rows.items[positions]

    def recent(self, positions: IntArray, window: int) -> IntArray:
        """(n, window) what was liked just before each row."""
        assert self.rows.items is not None
        return recent_likes(self.rows.user, self.rows.items, self.liked, positions, window)

    def offered(self, positions: IntArray) -> BoolArray:
        """(n, N): everything but what the user had before, and the target in any case."""
        mask: BoolArray = np.ones((len(positions), len(self.pool)), np.bool_)
        mask[self.rows.earlier_items(positions)] = False
        mask[np.arange(len(positions)), self.items(positions)] = True
        return mask

    def weights(self, positions: IntArray) -> FloatArray:
        """(n,) of the rows in training and calibration: between events and users."""
        return user_weights(self.rows, positions)

    def chunks(self, positions: IntArray) -> list[IntArray]:
        """The rows in parts whose (rows, items) blocks are bounded."""
        width = len(self.pool)
        size = max(1, BLOCK // width, min(ROWS, LARGEST // width))
        return [positions[i : i + size] for i in range(0, len(positions), size)]


def make_ground(
    rows: Rows,
    pool: ItemPool,
    config: PopulationConfig,
    prior: PriorConfig,
    contrastive: ContrastiveConfig,
) -> Ground:
    """Keep the newest rows of each user, split the users, and take those held out from the pool."""
    rows = newest_rows(rows, config.max_rows_per_user)
    assert rows.items is not None
    liked: BoolArray = rows.reward >= contrastive.negative_below
    split = split_users(rows.keys, prior.held_out)
    held_out = liked & ~split.fit[rows.user]
    most = min(config.judged_rows, max(LEAST_JUDGED, JUDGED // len(pool)))
    predicted: BoolArray = liked & (rows.weight > 0)
    return Ground(
        rows=rows,
        liked=liked,
        split=split,
        pool=pool.without(rows.items[held_out]),
        served=pool,
        stop=_judged(rows, predicted, split.stop, most),
        proof=_judged(rows, predicted, split.proof, PROOF * most),
    )


def newest_rows(rows: Rows, most: int) -> Rows:
    """The last ``most`` rows of some weight of each user, and what is merely known among them."""
    total = np.concatenate([[0], np.cumsum(rows.weight > 0)])
    kept = total[rows.first[1:]][rows.user] - total[:-1] <= most
    if kept.all():
        return rows
    return replace(
        rows,
        x=rows.x[kept],
        target=None if rows.target is None else rows.target[kept],
        items=None if rows.items is None else rows.items[kept],
        reward=rows.reward[kept],
        weight=rows.weight[kept],
        user=rows.user[kept],
        first=np.concatenate([[0], np.cumsum(kept)])[rows.first],
    )


def _judged(rows: Rows, predicted: BoolArray, users: BoolArray, most: int) -> IntArray:
    """An even choice of their rows that are to be predicted."""
    positions = rows.of_users(users)
    positions = positions[predicted[positions]]
    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, most).astype(np.int64)]
