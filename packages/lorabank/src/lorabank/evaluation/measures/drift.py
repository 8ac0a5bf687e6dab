"""What is forgotten of an old taste, and learned of a new one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lorabank.adapter import Adapter
from lorabank.evaluation.bootstrap import Interval
from lorabank.evaluation.measures.compare import draw
from lorabank.evaluation.methods.mixture import Mixed
from lorabank.evaluation.views import View
from lorabank.experts import trust
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.types.arrays import IntArray

LEARNED, JUDGED = 40, 20
PAIRS = 40
LEAST_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Drift:
    """After half of a user's stream turns into somebody else's.

    Attributes:
        users: pairs that were tried.
        old_ratio: NLL on the old slice after the drift over that before.
        new_gain: NLL that the new slice gained by learning it.
        unregularised_gain: the same without EWC.
        kept: new_gain over unregularised_gain.
    """

    method: str
    users: int
    old_ratio: Interval
    new_gain: Interval
    unregularised_gain: Interval
    kept: Interval


def after_drift(mixed: Mixed, view: View, resamples: int) -> tuple[Drift, ...]:
    """One user's taste, then another's: with EWC as the library sets it, and without.

    The stream learns `LEARNED` events of one user and then as many of another; before and after
    the second part, the next `JUDGED` events of both, which it never learns, are predicted. The
    unregularised learner is the same without EWC. Empty where too few users have so many events.
    """
    pairs = list(_pairs(view))
    if len(pairs) < LEAST_PAIRS:
        return ()
    bare = replace(mixed.config, defaults=replace(mixed.config.defaults, ewc_strength=0.0))
    protected = np.array([_losses(mixed, view, pair) for pair in pairs])
    free = replace(mixed, config=bare)
    unprotected = np.array([_losses(free, view, pair) for pair in pairs])
    draws = draw(np.arange(len(pairs)), resamples)
    old, new = protected[:, 0], protected[:, 1]
    gain, bare_gain = new[:, 0] - new[:, 1], unprotected[:, 1, 0] - unprotected[:, 1, 1]
    one = draws.relative(old[:, 1], old[:, 0])
    kept = draws.relative(gain, bare_gain)
    return (
        Drift(
            method="everything",
            users=len(pairs),
            old_ratio=Interval(1 + one.mean, 1 + one.lower, 1 + one.upper),
            new_gain=draws.mean(gain),
            unregularised_gain=draws.mean(bare_gain),
            kept=Interval(1 + kept.mean, 1 + kept.lower, 1 + kept.upper),
        ),
    )


def _pairs(view: View) -> Iterator[tuple[IntArray, IntArray]]:
    """Rows of two users who have enough events."""
    needed = LEARNED + JUDGED
    count = np.bincount(view.events.user)
    long = np.flatnonzero(count >= needed)
    for first, second in zip(long[:PAIRS], np.roll(long, 1)[:PAIRS], strict=True):
        if first != second:
            rows = [np.flatnonzero(view.events.user == user)[:needed] for user in (first, second)]
            yield rows[0], rows[1]


def _losses(mixed: Mixed, view: View, pair: tuple[IntArray, IntArray]) -> list[list[float]]:
    """[[old before, old after], [new before, new after]] the drift."""
    old, new = pair
    adapter = mixed.new_adapter()
    found: list[list[float]] = [[], []]
    for stream in (old, new):
        for begin in range(0, LEARNED, mixed.batch):
            adapter = mixed.learned(view, adapter, stream[begin : begin + mixed.batch])
        for side, rows in zip(found, (old[LEARNED:], new[LEARNED:]), strict=True):
            side.append(_loss(mixed, view, adapter, rows))
    return found


def _loss(mixed: Mixed, view: View, adapter: Adapter, rows: IntArray) -> float:
    """Mean NLL under the mixture as it stands."""
    own = adapter.transform(mixed.experts.base_output(view.events.x[rows]))
    logs = mixed.log_probabilities(view, rows, own)
    chosen = logs[:, np.arange(len(rows)), view.events.target[rows]].astype(np.float64)
    weights = np.array(trust(adapter.experts, mixed.experts, mixed.config.mixture).weights)
    with np.errstate(divide="ignore"):
        return float(-log_sum_exp((chosen + np.log(weights)[:, None]).T).mean())
