"""Past feedback as arrays to train on, with users split into fit, stop and proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.ranges import spread
from lorabank.turns import unhurried
from lorabank.types.arrays import BoolArray, FloatArray, IntArray
from lorabank.types.feedback import Feedback

Scalar = TypeVar("Scalar", bound=np.generic)
# Arrays that are joined in one call.
_BLOCK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Observations sorted by user, and by time within each user.

    Attributes:
        x: (M, dim).
        target: (M, dim) for "mse"; None for "contrastive".
        items: (M,) positions in the pool for "contrastive"; None for "mse".
        reward: (M,).
        weight: (M,) of each row: for "mse" the reward given beside a target; for "contrastive" one,
            or zero for what is merely known: a population neither learns to predict such a row nor
            is judged by it, but the item is off the offer from then on, and a like is looked back
            at and counted.
        user: (M,) number of the user, ascending.
        keys: the users' keys by number.
        first: (users + 1,) where each user's rows begin.
    """

    x: FloatArray
    target: FloatArray | None
    items: IntArray | None
    reward: FloatArray
    weight: FloatArray
    user: IntArray
    keys: tuple[str, ...]
    first: IntArray

    def __len__(self) -> int:
        return len(self.x)

    def of_users(self, chosen: BoolArray) -> IntArray:
        """Positions of the rows of the users for whom ``chosen`` (users,) is true."""
        return np.flatnonzero(chosen[self.user]).astype(np.int64)

    def users_of(self, rows: BoolArray) -> BoolArray:
        """(users,) whether each has one of the rows for which ``rows`` (M,) is true."""
        chosen: BoolArray = np.bincount(self.user[rows], minlength=len(self.keys)) > 0
        return chosen

    def earlier_items(self, positions: IntArray) -> tuple[IntArray, IntArray]:
        """(which of ``positions``, item) for every item that its user had before that row."""
        assert self.items is not None
        starts = self.first[self.user[positions]]
        counts = positions - starts
        which, place = spread(starts, counts)
        return which, self.items[place]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Users (as masks over their numbers) to fit on, to stop by, and to prove the result on."""

    fit: BoolArray
    stop: BoolArray
    proof: BoolArray

    def within(self, members: BoolArray) -> Split:
        """The same split of a part of the users."""
        return Split(self.fit & members, self.stop & members, self.proof & members)


def collect_rows(snapshot: Mapping[str, Sequence[Feedback]], objective: str) -> Rows | None:
    """All feedback that the objective can be trained on; None without any.

    "contrastive" needs items of the pool; "mse" a target, or a reward that makes one.
    """
    mse = objective == "mse"
    usable = _usable_mse if mse else _usable_contrastive
    keys: list[str] = []
    owners: list[int] = []
    columns = _Columns([], [], [], [], [])
    for key in unhurried(sorted(snapshot)):
        for feedback in unhurried(filter(usable, snapshot[key])):
            if not keys or keys[-1] != key:
                keys.append(key)
            owners.append(len(keys) - 1)
            columns.add(feedback, mse)
    if not owners:
        return None
    user = np.repeat(owners, [len(x) for x in unhurried(columns.x)])
    return Rows(
        x=_joined(columns.x),
        target=_joined(columns.target) if mse else None,
        items=None if mse else _joined(columns.items),
        reward=_joined(columns.reward),
        weight=_joined(columns.weight),
        user=user,
        keys=tuple(keys),
        first=np.searchsorted(user, np.arange(len(keys) + 1)),
    )


class _Columns(NamedTuple):
    """Arrays of the batches so far. The batches themselves are let go: see `types.batches`."""

    x: list[FloatArray]
    target: list[FloatArray]
    items: list[IntArray]
    reward: list[FloatArray]
    weight: list[FloatArray]

    def add(self, feedback: Feedback, mse: bool) -> None:
        self.x.append(feedback.x)
        if mse:
            self.target.append(_mse_target(feedback))
        if feedback.items is not None:
            self.items.append(feedback.items)
        self.reward.append(_reward(feedback))
        self.weight.append(_weight(feedback, mse))


def split_users(keys: Sequence[str], held_out: float) -> Split:
    """By the keyed hash, so that a user stays on one side from one consolidation to the next.

    A share ``held_out`` of the users is held out, one half to stop by and one to prove on.
    """
    # The last digits: the first ones choose the holdout of hints.
    position = np.array([int(key[-8:], 16) / 2**32 for key in unhurried(keys)])
    stop = position < held_out / 2
    proof = (position >= held_out / 2) & (position < held_out)
    return Split(~(stop | proof), stop, proof)


def members(keys: Sequence[str], group: Collection[str]) -> BoolArray:
    """(users,) whether each is in the group."""
    chosen = frozenset(group)
    return np.array([key in chosen for key in unhurried(keys)], np.bool_)


def _joined(arrays: Sequence[NDArray[Scalar]]) -> NDArray[Scalar]:
    """All rows, by way of blocks: numpy keeps the interpreter's lock for a whole list of arrays."""
    starts = unhurried(range(0, len(arrays), _BLOCK), 1)
    return np.concatenate([np.concatenate(arrays[i : i + _BLOCK]) for i in starts])


def _usable_contrastive(feedback: Feedback) -> bool:
    return feedback.items is not None


def _usable_mse(feedback: Feedback) -> bool:
    return feedback.target is not None or (feedback.items is None and feedback.reward is not None)


def _mse_target(feedback: Feedback) -> FloatArray:
    if feedback.target is not None:
        return feedback.target
    target: FloatArray = _reward(feedback)[:, None] * feedback.x
    return target


def _weight(feedback: Feedback, mse: bool) -> FloatArray:
    given = mse and feedback.target is not None
    return _reward(feedback) if given else np.ones(len(feedback), np.float32)


def _reward(feedback: Feedback) -> FloatArray:
    return np.ones(len(feedback), np.float32) if feedback.reward is None else feedback.reward
