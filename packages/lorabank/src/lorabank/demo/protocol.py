"""Who is past, who is new, and what is predicted when: the same seed gives the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lorabank.demo.data import Data
from lorabank.demo.settings import DemoSettings
from lorabank.errors import InvalidInputError
from lorabank.evaluation.contexts import decayed_contexts
from lorabank.evaluation.events import Events, Log, ordered_log
from lorabank.evaluation.sources.movielens import LIKED
from lorabank.types.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Users by number.

    Attributes:
        past: 80 %; they fill the bank, and everything is chosen on them.
        new: 20 %; nothing is chosen on them.
    """

    past: IntArray
    new: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """Everything that a run of the demo is fed with.

    Attributes:
        log: every rating, in order of time within each user; 4 stars and more are likes.
        split: of its users.
        events: every like but a user's first, with the context that personalisation is given.
        items: float32 (N, dim).
        popularity: (N,) likes of the past users.
        by_decay: the events with contexts of each decay that the blend may choose.
    """

    log: Log
    split: Split
    events: Events
    items: FloatArray
    popularity: IntArray
    by_decay: Mapping[float, Events]

    def with_decay(self, decay: float) -> Events:
        """The same events with contexts of another decay, one of the settings' ``decays``."""
        return self.by_decay[decay]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive events of one user: ``rows`` (<= 10,) of the events, ``number`` from 0."""

    user: int
    number: int
    rows: IntArray


def make_protocol(data: Data, settings: DemoSettings) -> Protocol:
    """Choose users, order the log, split, and make contexts; all by ``settings.seed``.

    Raises:
        InvalidInputError: more users asked for than there are.
    """
    log = _chosen_log(data, settings)
    split = split_users(log.users, settings.seed)
    by_decay = {
        decay: _first_events(log, data.vectors, decay, settings)
        for decay in {settings.decay, *settings.decays}
    }
    return Protocol(
        log=log,
        split=split,
        events=by_decay[settings.decay],
        items=data.vectors,
        popularity=log.counts(split.past, len(data.vectors)),
        by_decay=by_decay,
    )


def split_users(users: int, seed: int) -> Split:
    """80 % past and 20 % new."""
    shuffled = np.random.default_rng([seed, 1]).permutation(users)
    past, new = np.split(shuffled, [round(0.8 * users)])
    return Split(past, new)


def batches_in_time(events: Events, users: IntArray, size: int, seed: int) -> list[Batch]:
    """Each user's events in batches of ``size``, all users interleaved by time.

    A batch is there when its last event has happened; what ties between users is in random order.
    """
    place = np.random.default_rng([seed, 2]).permutation(int(users.max()) + 1)
    batches, times = [], []
    for user in np.sort(users):
        rows = np.flatnonzero(events.user == user)
        for number, start in enumerate(range(0, len(rows), size)):
            part = rows[start : start + size]
            batches.append(Batch(int(user), number, part))
            times.append((events.time[part[-1]], place[user], number))
    order = sorted(range(len(batches)), key=times.__getitem__)
    return [batches[position] for position in order]


def _first_events(log: Log, items: FloatArray, decay: float, settings: DemoSettings) -> Events:
    events = decayed_contexts(log, items, decay=decay, window=settings.window)
    if settings.events_per_user is None:
        return events
    return events.where(events.number < settings.events_per_user)


def _chosen_log(data: Data, settings: DemoSettings) -> Log:
    ratings = data.ratings
    total = int(ratings.user.max()) + 1
    users = total if settings.users is None else settings.users
    if users > total:
        raise InvalidInputError("users", users, f"at most {total}")
    chosen = np.sort(np.random.default_rng([settings.seed, 3]).permutation(total)[:users])
    rows = np.isin(ratings.user, chosen)
    rng = np.random.default_rng([settings.seed, 0])
    return ordered_log(
        np.searchsorted(chosen, ratings.user[rows]),
        ratings.item[rows],
        ratings.rating[rows] >= LIKED,
        ratings.time[rows],
        rng,
    )
