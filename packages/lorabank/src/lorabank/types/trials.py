"""Shadow trials as columns: what effects are worked out from, without an object for each number."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import Float64Array, IntArray
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Match, Pattern, TrialOutcome

# Of one trial. ``user`` is Python's 64-bit hash of the user's key: equal numbers are one user, in
# this process. ``fold`` is the user's, 0 or 1; ``defaults`` is a place in ``Trials.settings``;
# ``arms`` says how many of the arms, which lie side by side, are this trial's.
FACTS = np.dtype(
    [
        ("user", np.int64),
        ("fold", np.int64),
        ("time", np.float64),
        ("default_loss", np.float64),
        ("frozen_loss", np.float64),
        ("reference_loss", np.float64),
        ("defaults", np.int64),
        ("arms", np.int64),
    ]
)
# Fields that are those of a `TrialRow`, in its order from the third on.
_COPIED = ("time", "default_loss", "frozen_loss", "reference_loss")
_AS_NUMBERS = np.dtype((np.int64, FACTS.itemsize // 8))


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Finished trials: n of them, with m arms altogether.

    Attributes:
        ids: of the episodes, n.
        facts: `FACTS` (n,), in the same order.
        arm: int64 (m,), places in ``choices``; in the order of the trials.
        loss: float64 (m,), of each arm on the next batch.
        settings: the settings that trials were around.
        choices: parameter and factor of each kind of arm.
    """

    ids: Sequence[str]
    facts: NDArray[np.void]
    arm: IntArray
    loss: Float64Array
    settings: Sequence[Hyperparameters]
    choices: Sequence[tuple[str, float]]

    def __len__(self) -> int:
        return len(self.facts)

    @classmethod
    def of(cls, patterns: Iterable[Pattern]) -> Trials:
        """Those of ``patterns`` that have one, in their order."""
        return TrialWriter().write(patterns)

    @classmethod
    def of_matches(cls, matches: Iterable[Match]) -> Trials:
        """Those of what a search found, in its order."""
        return cls.of(match.pattern for match in matches)

    def take(self, rows: IntArray) -> Trials:
        """The trials of these rows, in this order."""
        facts, arm, loss = self.columns_of(rows)
        ids = [self.ids[row] for row in rows.tolist()]
        return Trials(ids, facts, arm, loss, self.settings, self.choices)

    def columns_of(self, rows: IntArray) -> tuple[NDArray[np.void], IntArray, Float64Array]:
        """``facts``, ``arm`` and ``loss`` of these rows, in this order."""
        # Eight numbers are copied faster than one record.
        facts = self.facts.view(_AS_NUMBERS)[rows].view(FACTS)[:, 0]
        counts = facts["arms"]
        # Where a trial's arms begin here, less where they will: added to each arm's new place.
        shifts = _starts(self.facts["arms"])[rows] - _starts(counts)
        places = np.repeat(shifts, counts)
        places += np.arange(len(places))
        return facts, self.arm[places], self.loss[places]

    def around(self, defaults: Hyperparameters) -> Trials:
        """Those around these settings, in the same order."""
        try:
            chosen = self.facts["defaults"] == self.settings.index(defaults)
        except ValueError:
            chosen = np.zeros(len(self), np.bool_)
        return self if chosen.all() else self.take(np.flatnonzero(chosen))

    def by_time(self) -> IntArray:
        """The rows in the order in which the trials came; those of one moment by id."""
        time = self.facts["time"]
        order: IntArray = np.argsort(time, kind="stable")
        ordered = time[order]
        if (ordered[1:] == ordered[:-1]).any():
            rows = sorted(zip(time.tolist(), self.ids, range(len(self)), strict=True))
            order = np.array([row for _, _, row in rows], np.int64)
        return order


def _starts(counts: IntArray) -> IntArray:
    """Where each of some stretches begins that lie side by side."""
    starts: IntArray = np.cumsum(counts)
    starts -= counts
    return starts


class TrialRow(NamedTuple):
    """One trial; ``arms`` are parameter, factor and loss of each."""

    id: str
    user_key: str
    created_at: float
    default_loss: float
    frozen_loss: float
    reference_loss: float
    defaults: Hyperparameters
    arms: Sequence[tuple[str, float, float]]


class TrialWriter:
    """Makes columns of patterns; the numbers of settings and arms stay the same from call to call.

    Attributes:
        settings, choices: those met so far, by their number.
    """

    def __init__(self) -> None:
        self.settings: list[Hyperparameters] = []
        self.choices: list[tuple[str, float]] = []
        self._settings: dict[Hyperparameters, int] = {}
        self._choices: dict[tuple[str, float], int] = {}

    def write(self, patterns: Iterable[Pattern]) -> Trials:
        """Columns of those patterns that have a trial, in their order."""
        return self.write_rows(
            [_row(p, p.trial) for p in unhurried(patterns) if p.trial is not None]
        )

    def write_rows(self, rows: Sequence[TrialRow]) -> Trials:
        """Columns of these trials, in their order."""
        facts = np.empty(len(rows), FACTS)
        give_way()
        # Column by column: a call and a tuple for each row take longer.
        for place, name in enumerate(_COPIED, 2):
            facts[name] = [row[place] for row in rows]
        facts["user"] = [hash(row.user_key) for row in rows]
        facts["fold"] = [zlib.crc32(row.user_key.encode()) & 1 for row in rows]
        facts["arms"] = [len(row.arms) for row in rows]
        give_way()
        # Most share a few objects, and those are quicker to tell apart than settings are.
        distinct = {id(row.defaults): row.defaults for row in rows}
        numbers = {key: self._setting(given) for key, given in distinct.items()}
        facts["defaults"] = [numbers[id(row.defaults)] for row in rows]
        kinds = [arm[:2] for row in unhurried(rows) for arm in row.arms]
        for kind in dict.fromkeys(kinds):
            self._choice(kind)
        arm = np.array([self._choices[kind] for kind in kinds], np.int64)
        give_way()
        loss = np.array([arm[2] for row in rows for arm in row.arms], np.float64)
        return Trials([row.id for row in rows], facts, arm, loss, self.settings, self.choices)

    def _setting(self, given: Hyperparameters) -> int:
        return _numbered(given, self._settings, self.settings)

    def _choice(self, given: tuple[str, float]) -> int:
        return _numbered(given, self._choices, self.choices)


def _row(pattern: Pattern, trial: TrialOutcome) -> TrialRow:
    return TrialRow(
        pattern.id,
        pattern.user_key,
        pattern.created_at,
        trial.default_loss,
        trial.frozen_loss,
        trial.reference_loss,
        trial.defaults,
        [(arm.parameter, arm.factor, arm.loss) for arm in trial.arms],
    )


def _numbered(given: Any, numbers: dict[Any, int], known: list[Any]) -> int:
    number = numbers.get(given)
    if number is None:
        number = numbers[given] = len(known)
        known.append(given)
    return number
