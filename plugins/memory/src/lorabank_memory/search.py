"""Exact cosine search over the views of segments: pure functions, safe in a worker thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.products import exact_products, near_products
from lorabank.turns import unhurried
from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import Match
from lorabank.types.query import PatternFilter
from lorabank.types.trials import Trials, TrialWriter
from lorabank_memory.records import Record, Records, id_of, pattern_of, trial_of
from lorabank_memory.segment import View, passing

# Scores are rounded to what float32 unit vectors can tell apart, so that equal contexts tie (and
# are then ordered by id) whatever block of a matrix product they were computed in.
_DECIMALS = 6
# More than a float32 product's rounding error: who is this near the k-th is looked at again.
_MARGIN = 2e-5
_Candidate: TypeAlias = tuple[Record, float]  # and its exact score
# Those of a segment that are scored exactly: float32 (n, dim), and their records (n,).
_Part: TypeAlias = tuple[FloatArray, Records]
# Each product of a few rows costs as much as that of a hundred: segments are taken together, up to
# about so many rows, so that a search for everything copies no more at once.
_AT_ONCE = 512


def nearest(
    views: Sequence[View], unit: NDArray[np.float64], k: int, where: PatternFilter
) -> list[Match]:
    """The k most similar patterns that pass, best first; equal scores by id.

    Args:
        views: what to search.
        unit: the query at length one, float64 (dim,).
        k: how many; >= 1.
        where: applied before the best are chosen.
    """
    found = _nearest(views, unit, k, where)
    return [Match(pattern_of(record), score) for record, score in unhurried(found)]


def nearest_trials(
    views: Sequence[View], unit: NDArray[np.float64], k: int, where: PatternFilter
) -> Trials:
    """The trials of what `nearest` finds among patterns that have one, in its order."""
    found = _nearest(views, unit, k, replace(where, has_trial=True))
    return TrialWriter().write_rows([trial_of(record) for record, _ in unhurried(found)])


def _nearest(
    views: Sequence[View], unit: NDArray[np.float64], k: int, where: PatternFilter
) -> list[_Candidate]:
    rows = [np.flatnonzero(passing(view.columns, where)) for view in unhurried(views, 1)]
    searched = unhurried(zip(views, rows, strict=True), 1)
    scores = [_scores(view, found, unit) for view, found in searched]
    if not sum(map(len, rows)):
        return []
    cut = _cut(np.concatenate(scores), k)
    candidates: list[_Candidate] = []
    parts: list[_Part] = []
    for view, found, score in unhurried(zip(views, rows, scores, strict=True), 1):
        near = found[score >= cut]
        if len(near):
            parts.append((view.unit[near], view.records[near]))
        if sum(len(units) for units, _ in parts) >= _AT_ONCE:
            candidates += _exact(parts, unit)
            parts = []
    candidates += _exact(parts, unit)
    return sorted(candidates, key=_best_first)[:k]


def _scores(view: View, rows: NDArray[np.intp], unit: NDArray[np.float64]) -> NDArray[np.float32]:
    narrow = unit.astype(np.float32)
    if 4 * len(rows) < len(view.unit):  # gathering a few rows is cheaper than reading all
        return near_products(view.unit[rows], narrow)
    return near_products(view.unit, narrow)[rows]


def _cut(scores: NDArray[np.float32], k: int) -> float:
    if k >= len(scores):
        return -np.inf
    place = len(scores) - k
    return float(np.partition(scores, place)[place]) - _MARGIN


def _exact(parts: Sequence[_Part], unit: NDArray[np.float64]) -> list[_Candidate]:
    if not parts:
        return []
    exact = exact_products(np.concatenate([units for units, _ in parts]), unit).round(_DECIMALS)
    scores = np.clip(exact, -1.0, 1.0) + 0.0  # no negative zero
    records = [record for _, some in parts for record in some.tolist()]
    return list(zip(records, scores.tolist(), strict=True))


def _best_first(candidate: _Candidate) -> tuple[float, str]:
    record, score = candidate
    return -score, id_of(record)
