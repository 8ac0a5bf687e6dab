"""Scored episodes as columns: what consolidation reads of them, without an object for each.

A namespace may hold hundreds of thousands. As objects they would be walked by Python's collector of
cycles, which stops every thread meanwhile; arrays and lists of text are not, or nearly not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.pattern import OBJECTIVES, Outcome, Pattern
from lorabank.types.trials import FACTS, Trials, TrialWriter

# Of one episode. ``objective`` is a place in `OBJECTIVES`; ``trial`` a row of the trials, or -1.
_COLUMNS = np.dtype(
    [
        ("objective", np.int64),
        ("created_at", np.float64),
        ("gain", np.float64),
        ("reward", np.float64),
        ("success", np.bool_),
        ("trial", np.int64),
    ]
)
_NO_TRIAL = -1


@dataclass(frozen=True, slots=True, eq=False)
class Episodes:
    """Episodes with an outcome, in the order in which they came.

    Attributes:
        users: their users' keys, n.
        contexts: float32 (n, dim).
        columns: (n,) with the fields ``objective``, ``created_at``, ``gain``, ``reward``,
            ``success`` and ``trial``.
        trials: those that ended with one of them.
    """

    users: Sequence[str]
    contexts: FloatArray
    columns: NDArray[np.void]
    trials: Trials

    def __len__(self) -> int:
        return len(self.columns)

    @classmethod
    def of(cls, patterns: Iterable[Pattern]) -> Episodes:
        """Those of ``patterns`` that have an outcome."""
        writer = EpisodeWriter()
        writer.add(list(patterns))
        return writer.done()

    def trials_of(self, rows: IntArray) -> Trials:
        """The trials that ended with these episodes."""
        numbers = self.columns["trial"][rows]
        return self.trials.take(numbers[numbers != _NO_TRIAL])


class EpisodeWriter:
    """Makes columns of patterns that come page by page. Call it in a worker thread."""

    def __init__(self) -> None:
        self._users: list[str] = []
        self._contexts: list[FloatArray] = []
        self._columns: list[NDArray[np.void]] = []
        self._writer = TrialWriter()
        self._trials: list[Trials] = []
        self._trial_count = 0

    def __len__(self) -> int:
        return len(self._users)

    def add(self, patterns: Sequence[Pattern]) -> None:
        """Those that have an outcome; the objects themselves are not kept."""
        scored = [(p, p.outcome) for p in unhurried(patterns) if p.outcome is not None]
        if not scored:
            return
        self._columns.append(
            np.array([self._facts(p, outcome) for p, outcome in unhurried(scored)], _COLUMNS)
        )
        self._contexts.append(np.stack([p.context for p, _ in scored]))
        self._users += [p.user_key for p, _ in scored]
        self._trials.append(self._writer.write(p for p, _ in scored))

    def done(self) -> Episodes:
        """All that was added."""
        if not self._columns:
            columns, contexts = np.empty(0, _COLUMNS), np.empty((0, 0), np.float32)
            return Episodes((), contexts, columns, Trials.of(()))
        return Episodes(
            self._users,
            np.concatenate(self._contexts),
            np.concatenate(self._columns),
            _joined(self._trials),
        )

    def _facts(
        self, pattern: Pattern, outcome: Outcome
    ) -> tuple[int, float, float, float, bool, int]:
        trial = _NO_TRIAL
        if pattern.trial is not None:
            trial = self._trial_count
            self._trial_count += 1
        return (
            OBJECTIVES.index(pattern.objective),
            pattern.created_at,
            outcome.gain,
            outcome.reward,
            outcome.success,
            trial,
        )


def _joined(parts: Sequence[Trials]) -> Trials:
    """All of them; they were made by one writer, so that their numbers mean the same."""
    give_way()
    return Trials(
        [trial_id for part in parts for trial_id in part.ids],
        np.concatenate([part.facts for part in parts]).astype(FACTS, copy=False),
        np.concatenate([part.arm for part in parts]),
        np.concatenate([part.loss for part in parts]),
        parts[-1].settings,
        parts[-1].choices,
    )
