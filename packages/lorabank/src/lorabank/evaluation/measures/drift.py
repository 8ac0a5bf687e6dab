"""What is forgotten of an old taste, and learned of a new one."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.evaluation.bootstrap import Interval


@dataclass(frozen=True, slots=True)
class Drift:
    """After half of a user's stream turns into somebody else's.

    Attributes:
        users: pairs that were tried.
        old_ratio: NLL on the old slice after the drift over that before.
        new_gain: NLL that the new slice gained by learning it.
        unregularised_gain: the same without EWC and mixture.
        kept: new_gain over unregularised_gain.
    """

    method: str
    users: int
    old_ratio: Interval
    new_gain: Interval
    unregularised_gain: Interval
    kept: Interval
