"""Held-out events to choose and to calibrate on, with a popularity that does not know them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.events import Events, Log
from lorabank.evaluation.metrics import CHUNK, mask_seen
from lorabank.types.arrays import AnyFloatArray, BoolArray, FloatArray, IntArray
from lorabank.types.items import ItemPool


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Some users' events, and ``log_prior`` (N,) made of the other users' likes alone."""

    events: Events
    log_prior: FloatArray


def make_folds(
    log: Log,
    events: Events,
    users: IntArray,
    items: FloatArray,
    rng: np.random.Generator,
    *,
    folds: int = 5,
    per_user: int = 16,
) -> tuple[Fold, ...]:
    """Cross-validation over users: each fold's popularity counts the users outside it.

    Args:
        log: of all users.
        events: of all users.
        users: that may be chosen and calibrated on.
        items: float32 (N, dim).
        rng: deals the users out, and draws their events.
        folds: how many.
        per_user: at most this many events of each user, drawn at random.
    """
    parts = np.array_split(rng.permutation(users), folds)
    drawn = _draw(events, rng, per_user)
    return tuple(
        Fold(
            events.where(drawn & np.isin(events.user, part)),
            ItemPool(items, log.counts(np.setdiff1d(users, part), len(items))).log_prior,
        )
        for part in parts
    )


def scored(
    log: Log, fold: Fold, items: FloatArray, chunk: int = CHUNK
) -> Iterator[tuple[slice, FloatArray]]:
    """Slices of a fold's events with the scores ``<x, e>`` (m, N), -inf for what was seen."""
    events = fold.events
    for start in range(0, len(events), chunk):
        part = slice(start, min(start + chunk, len(events)))
        scores = events.x[part] @ items.T
        mask_seen(log, events, part, scores)
        yield part, scores


def user_weights(events: Events) -> AnyFloatArray:
    """(n,) weights that make every user count the same."""
    _, inverse = np.unique(events.user, return_inverse=True)
    weights: AnyFloatArray = 1.0 / np.bincount(inverse)[inverse]
    return weights


def _draw(events: Events, rng: np.random.Generator, per_user: int) -> BoolArray:
    """(n,) a random ``per_user`` of each user's events."""
    shuffled = np.lexsort((rng.random(len(events)), events.user))
    start = np.searchsorted(events.user, events.user)
    place = np.empty(len(events), np.int64)
    place[shuffled] = np.arange(len(events)) - start
    drawn: BoolArray = place < per_user
    return drawn
