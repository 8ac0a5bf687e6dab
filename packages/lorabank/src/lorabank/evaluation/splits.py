"""Who is past and who is new: three logs that share no user, so that nothing can leak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.events import Log, ordered_log
from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.sources.table import Dataset, in_words
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray

NEW_SHARE = 0.2
# Seconds between two rows of one sitting, at most.
SITTING = 3600.0
# Fewer on any side would make every number noise.
LEAST_USERS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Logs of disjoint users, each numbered from 0.

    Attributes:
        fit: what methods are fitted on.
        choose: past users that every choice and calibration is made on.
        new: users that methods are compared on. Nothing is chosen on them.
        cut: the moment of a temporal split, else None.
        who: (users of ``new``,) their numbers in the data, by which seeds are told to share users.
        left_out: users drawn for none of the three, because of the bounds in the settings.
    """

    fit: Log
    choose: Log
    new: Log
    cut: float | None
    who: IntArray
    left_out: int


def make_split(dataset: Dataset, settings: EvaluateSettings, seed: int) -> Split:
    """Split the users by chance or by time; ties in time are shuffled. All by ``seed``.

    Raises:
        InvalidInputError: a temporal split or sittings without timestamps, or too few users.
    """
    if not dataset.clock and (settings.split, settings.order) != ("users", "time"):
        raise InvalidInputError(
            "--split, --order", (settings.split, settings.order), "a log with timestamps for these"
        )
    rng = np.random.default_rng([seed, 11])
    users = np.unique(dataset.user).astype(np.int64)
    if settings.split == "temporal":
        past, new, cut = _by_time(dataset, users)
    else:
        shuffled = rng.permutation(users)
        new, past = np.split(shuffled, [round(NEW_SHARE * len(users))])
        cut = None
    past, new = rng.permutation(past), rng.permutation(new)
    choose, fit = np.split(past, [round(settings.choose * len(past))])
    likes = np.bincount(
        dataset.user[_rows(dataset, cut, past) & dataset.liked], minlength=_size(dataset)
    )
    fit = _within(fit, likes, settings.fit_likes)
    choose = _within(choose, likes, settings.fit_likes // 4)
    events = np.bincount(dataset.user[dataset.liked], minlength=_size(dataset)) - 1
    new = _within(new, np.clip(events, 0, settings.events_per_user), settings.test_events)
    for side, drawn in (("past", fit), ("new", new)):
        if len(drawn) < LEAST_USERS:
            least = f"at least {LEAST_USERS}, of some hundred in all"
            raise InvalidInputError(f"{side} users", len(drawn), f"{least}; {_account(dataset)}")
    return Split(
        fit=_log(dataset, fit, cut, settings, [seed, 12]),
        choose=_log(dataset, choose, cut, settings, [seed, 13]),
        new=_log(dataset, new, None, settings, [seed, 14]),
        cut=cut,
        who=new,
        left_out=len(users) - len(fit) - len(choose) - len(new),
    )


def sitting_times(user: IntArray, time: AnyFloatArray) -> AnyFloatArray:
    """Each row's time replaced by that of the first row of its sitting. Both (M,), any order."""
    order = np.lexsort((time, user))
    u, t = user[order], time[order]
    begins = np.ones(len(t), np.bool_)
    begins[1:] = (u[1:] != u[:-1]) | (t[1:] - t[:-1] > SITTING)
    start = np.maximum.accumulate(np.where(begins, np.arange(len(t)), 0))
    result = np.empty_like(t)
    result[order] = t[start]
    return result


def _account(dataset: Dataset) -> str:
    """What the log has, and what it has not for which reasons."""
    likes = np.bincount(dataset.user[dataset.liked], minlength=_size(dataset))
    users, several = len(np.unique(dataset.user)), np.count_nonzero(likes >= 2)
    said = [f"the log has {users:,} users, {several:,} of them with two likes or more"]
    reading = dataset.reading
    if lost := sum(reading.skipped.values()):
        reasons = in_words(reading.skipped)
        said.append(f"{lost:,} of its {reading.rows:,} rows were left out: {reasons}")
    if reading.repeated:
        said.append(f"{reading.repeated:,} rows repeat an item that the user had before")
    return "; ".join(said)


def _by_time(dataset: Dataset, users: IntArray) -> tuple[IntArray, IntArray, float]:
    """(past, new, cut): about a fifth of the users come at the cut or later."""
    first = np.full(_size(dataset), np.inf)
    np.minimum.at(first, dataset.user, dataset.time)
    cut = float(np.quantile(first[users], 1 - NEW_SHARE, method="higher"))
    return users[first[users] < cut], users[first[users] >= cut], cut


def _rows(dataset: Dataset, cut: float | None, users: IntArray) -> BoolArray:
    member = np.zeros(_size(dataset), np.bool_)
    member[users] = True
    rows = member[dataset.user]
    return rows if cut is None else rows & (dataset.time < cut)


def _within(users: IntArray, weight: IntArray, most: int) -> IntArray:
    """The first users (they are in random order) whose weights fit into ``most``."""
    kept: IntArray = np.sort(users[np.cumsum(weight[users]) <= most])
    return kept if len(kept) else users[:1]


def _log(
    dataset: Dataset,
    users: IntArray,
    cut: float | None,
    settings: EvaluateSettings,
    seed: list[int],
) -> Log:
    """These users' rows (before the cut) as a log of their own."""
    rows = np.flatnonzero(_rows(dataset, cut, users))
    user = np.searchsorted(users, dataset.user[rows])
    time = dataset.time[rows]
    if settings.order == "sitting":
        time = sitting_times(user, time)
    rng = np.random.default_rng(seed)
    return ordered_log(user, dataset.item[rows], dataset.liked[rows], time, rng)


def _size(dataset: Dataset) -> int:
    return int(dataset.user.max()) + 1
