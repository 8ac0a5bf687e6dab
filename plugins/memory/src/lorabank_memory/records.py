"""Patterns kept as plain tuples, which Python's collector of cycles does not walk.

A full collection stops every thread for as long as it takes to look at all objects that may be
part of a cycle. A pattern is five of those or more, so a hundred thousand of them hold an event
loop for a tenth of a second. A tuple of strings, numbers and arrays can't be part of one: the
first collections that meet it drop it from the books, after the tuples inside it, and an array of
objects is never in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ArmOutcome, Outcome, Pattern, TrialOutcome
from lorabank.types.trials import TrialRow
from lorabank.types.values import parts_of, restored

# All fields of a pattern, in order; what has fields of its own is a tuple of those, or None.
Record: TypeAlias = tuple[Any, ...]
Records: TypeAlias = NDArray[np.object_]  # (n,)

_ID, _USER, _TIME, _SETTINGS, _TRIAL = map(
    Pattern.__slots__.index, ("id", "user_key", "created_at", "hyperparameters", "trial")
)


def records_of(patterns: Iterable[Pattern], count: int) -> Records:
    """``count`` patterns as an array of records, (count,)."""
    return np.fromiter(map(_record, patterns), np.object_, count)


def id_of(record: Record) -> str:
    """The id of a record's pattern."""
    found: str = record[_ID]
    return found


def pattern_of(record: Record) -> Pattern:
    """The pattern of a record; a new object each time, with the same context array."""
    *parts, outcome, trial = record
    parts[_SETTINGS] = _settings(*parts[_SETTINGS])
    parts += (outcome and restored(Outcome, outcome), trial and _trial(trial))
    return restored(Pattern, parts)


def trial_of(record: Record) -> TrialRow:
    """What strategies are learned from; the record's pattern must have a trial."""
    default, frozen, reference, _, arms, defaults = record[_TRIAL]
    known = record[_ID], record[_USER], record[_TIME]
    return TrialRow(*known, default, frozen, reference, _settings(*defaults), arms)


def _record(pattern: Pattern) -> Record:
    *parts, outcome, trial = parts_of(pattern)
    parts[_SETTINGS] = parts_of(pattern.hyperparameters)
    if trial is not None:
        *losses, arms, defaults = parts_of(trial)
        trial = (*losses, tuple(map(parts_of, arms)), parts_of(defaults))
    return (*parts, outcome and parts_of(outcome), trial)


def _trial(record: Record) -> TrialOutcome:
    *losses, arms, defaults = record
    made = tuple([restored(ArmOutcome, arm) for arm in arms])
    return restored(TrialOutcome, (*losses, made, _settings(*defaults)))


@lru_cache(maxsize=64, typed=True)
def _settings(*parts: Any) -> Hyperparameters:
    # Nearly always the same few.
    return restored(Hyperparameters, parts)
