"""What reading gives: compact columns, and an account of every row that was left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorabank.errors import LorabankError
from lorabank.types.arrays import AnyFloatArray, BoolArray, FloatArray

Codes: TypeAlias = NDArray[np.int32]
# (stage, done, total)
OnProgress: TypeAlias = Callable[[str, int, int], None]

INSTALL = "this needs the extra: pip install 'lorabank[evaluate]'"


class SourceUnavailableError(LorabankError):
    """A package that reading needs is not installed; the message says what to install."""


def in_words(counts: dict[str, int]) -> str:
    """``2 no user_id, 1 pos is not a number``."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


@dataclass(slots=True)
class Reading:
    """The account of what was read.

    Attributes:
        rows: data rows of the interactions, whatever became of them.
        skipped: reason -> rows that were left out for it.
        rated: whether there is a column of ratings.
        repeated: rows left out because the same user had the same item before.
        users: users met, those not sampled included.
        sampled: share of the users that was kept; 1.0 is all.
        items: of the catalogue.
        items_skipped: reason -> rows of the catalogue that were left out.
    """

    rows: int = 0
    rated: bool = False
    skipped: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    users: int = 0
    sampled: float = 1.0
    items: int = 0
    items_skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str, rows: int) -> None:
        """Count rows that are left out."""
        if rows:
            self.skipped[reason] = self.skipped.get(reason, 0) + rows

    def skip_items(self, reason: str, rows: int) -> None:
        """Count rows of the catalogue that are left out."""
        if rows:
            self.items_skipped[reason] = self.items_skipped.get(reason, 0) + rows


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A log and its catalogue.

    Attributes:
        name: for titles.
        user, item: int32 (M,), numbered from 0.
        liked: (M,) whether the row is to be predicted; others only take an item off the offer.
        time: float64 (M,) seconds, or positions within the user where there is no clock.
        vectors: float32 (N, dim), centred or not as the source says, of unit length.
        clock: whether ``time`` means the same for every user.
        reading: the account.
    """

    name: str
    user: Codes
    item: Codes
    liked: BoolArray
    time: AnyFloatArray
    vectors: FloatArray
    clock: bool
    reading: Reading
