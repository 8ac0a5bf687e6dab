"""Feedback: what a user's action says about an embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import FloatArray, IntArray, as_array, as_float32, as_matrix, read_only
from lorabank.types.checks import check_number
from lorabank.types.values import made


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Feedback:
    """A batch of n >= 1 observations of one user, in the order in which they happened.

    Attributes:
        x: input embeddings, float32 (n, dim).
        target: target embeddings, float32 (n, dim), or None.
        items: positions of the target items in the engine's `ItemPool`, int64 (n,), or None.
        reward: float32 (n,), each in [0, 1], or None (which counts as 1).
        negatives: vectors that were *not* chosen, float32 (m, dim), for the contrastive
            objective; None means "sample them from the engine's item pool".

    With ``mse`` and no target the target is ``reward * x``: it teaches length, not direction.
    """

    x: FloatArray
    target: FloatArray | None
    items: IntArray | None
    reward: FloatArray | None
    negatives: FloatArray | None

    def __init__(
        self,
        x: ArrayLike,
        target: ArrayLike | None = None,
        *,
        items: ArrayLike | None = None,
        reward: ArrayLike | None = None,
        negatives: ArrayLike | None = None,
    ) -> None:
        """Check, and copy nothing that is already float32: leave your arrays alone meanwhile.

        Raises:
            InvalidInputError: names the field, the value and what was expected.
        """
        inputs = as_matrix(x, "feedback.x")
        count, dim = inputs.shape
        if target is None and items is None and reward is None:
            raise InvalidInputError("feedback", "x alone", "a target, items or a reward")
        goals = None if target is None else as_matrix(target, "feedback.target", dim)
        if goals is not None and len(goals) != count:
            raise InvalidInputError("feedback.target", goals.shape, f"one row per input ({count})")
        others = None if negatives is None else as_matrix(negatives, "feedback.negatives", dim)
        object.__setattr__(self, "x", read_only(inputs))
        object.__setattr__(self, "target", None if goals is None else read_only(goals))
        object.__setattr__(self, "items", _as_items(items, count))
        object.__setattr__(self, "reward", _as_reward(reward, count))
        object.__setattr__(self, "negatives", None if others is None else read_only(others))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def dim(self) -> int:
        """Number of components of each input."""
        return int(self.x.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays but the negatives."""
        others = (self.target, self.items, self.reward)
        return self.x.nbytes + sum([array.nbytes for array in others if array is not None])

    def copy(self) -> Feedback:
        """The same observations in memory of their own, without supplied negatives."""
        return made(
            Feedback,
            x=_own(self.x),
            target=None if self.target is None else _own(self.target),
            items=self.items,
            reward=None if self.reward is None else _own(self.reward),
            negatives=None,
        )


def watch_reward(completion_rate: float, rating: float = 0.0, rewatch: bool = False) -> float:
    """Reward of one watch event: ``min(1, .5*completion + .3*rating/5 + .2*rewatch)``.

    Args:
        completion_rate: watched share of the item, in [0, 1].
        rating: stars, in [0, 5]; 0 means "not rated".
        rewatch: whether it was watched again.

    Raises:
        InvalidInputError: a value outside its range.
    """
    check_number(completion_rate, "completion_rate", low=0.0, high=1.0)
    check_number(rating, "rating", low=0.0, high=5.0)
    return min(1.0, 0.5 * completion_rate + 0.3 * rating / 5.0 + 0.2 * bool(rewatch))


def create_adapter_feedback(
    x: ArrayLike,
    target: ArrayLike | None = None,
    *,
    items: ArrayLike | None = None,
    completion_rate: float,
    rating: float = 0.0,
    rewatch: bool = False,
    negatives: ArrayLike | None = None,
) -> Feedback:
    """Feedback from one watch event. ``x`` and ``target`` are vectors (dim,).

    Raises:
        InvalidInputError: a value outside its range, or more than one observation.
    """
    reward = watch_reward(completion_rate, rating, rewatch)
    inputs = as_matrix(x, "feedback.x")
    if len(inputs) != 1:
        raise InvalidInputError("feedback.x", inputs.shape, "one vector: an event is one event")
    return Feedback(
        inputs,
        target,
        items=None if items is None else np.atleast_1d(np.asarray(items)),
        reward=[reward],
        negatives=negatives,
    )


def _own(array: FloatArray) -> FloatArray:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def _as_items(items: ArrayLike | None, count: int) -> IntArray | None:
    if items is None:
        return None
    array = as_array(items, "feedback.items")
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise InvalidInputError("feedback.items", items, f"{count} integer positions in the pool")
    if (array < 0).any() or (array > np.iinfo(np.int64).max).any():
        raise InvalidInputError("feedback.items", array.tolist(), "positions >= 0, within int64")
    result: IntArray = read_only(array.astype(np.int64))
    return result


def _as_reward(reward: ArrayLike | None, count: int) -> FloatArray | None:
    if reward is None:
        return None
    array = as_float32(np.atleast_1d(as_array(reward, "feedback.reward")), "feedback.reward")
    if array.shape != (count,):
        raise InvalidInputError("feedback.reward", array.shape, f"one number per input ({count})")
    outside = array[(array < 0) | (array > 1)]
    if outside.size:
        raise InvalidInputError("feedback.reward", float(outside[0]), "numbers in [0, 1]")
    result: FloatArray = read_only(array)
    return result
