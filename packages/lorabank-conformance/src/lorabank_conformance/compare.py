"""Comparisons that say what differs: records field by field, and rankings against exact cosine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import Match, Pattern

# Scores in float32 are this exact; no two directions that the laws compare are this close.
TOLERANCE = 1e-5


def differences(got: Any, want: Any, path: str = "") -> Iterator[str]:
    """Where two records differ, down to types and to the bits of arrays."""
    if type(got) is not type(want):
        yield f"{path}: {type(got).__name__}, not {type(want).__name__}"
    elif is_dataclass(want) and not isinstance(want, type):
        for field in fields(want):
            name = field.name
            yield from differences(getattr(got, name), getattr(want, name), f"{path}.{name}")
    elif isinstance(want, np.ndarray):
        if (got.dtype, got.shape) != (want.dtype, want.shape) or got.tobytes() != want.tobytes():
            yield f"{path}: {got!r}, not {want!r}"
    elif isinstance(want, tuple) and len(got) == len(want):
        for number, (one, other) in enumerate(zip(got, want, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif got != want:
        yield f"{path}: {got!r}, not {want!r}"


def same(got: Any, want: Any) -> bool:
    """Whether two records are equal in every field."""
    return not any(differences(got, want))


def assert_same(got: Sequence[Any], want: Sequence[Any]) -> None:
    """Both hold the same records in the same order, equal in every field."""
    assert [record.id for record in got] == [record.id for record in want]
    for one, other in zip(got, want, strict=True):
        assert not list(differences(one, other, type(other).__name__))


def cosine(one: FloatArray, other: FloatArray) -> float:
    """The cosine similarity in float64; 0 if either vector is zero."""
    wide, against = one.astype(np.float64), other.astype(np.float64)
    lengths = float(np.linalg.norm(wide) * np.linalg.norm(against))
    return float(wide @ against) / lengths if lengths > 0 else 0.0


def assert_ranking(
    matches: Sequence[Match], candidates: Iterable[Pattern], query: FloatArray, k: int
) -> None:
    """``matches`` are the k candidates most similar to ``query``, rightly scored and ordered."""
    exact = {pattern.id: cosine(pattern.context, query) for pattern in candidates}
    found = [match.pattern.id for match in matches]
    assert len(found) == min(k, len(exact)), f"{len(found)} matches of {len(exact)} for k={k}"
    assert len(set(found)) == len(found), f"found twice: {found}"
    strangers = sorted(set(found) - exact.keys())
    assert not strangers, f"found, but they should not be there: {strangers[:5]}"
    for match in matches:
        assert -1.0 <= match.score <= 1.0, f"a score of {match.score}"
        difference = abs(match.score - exact[match.pattern.id])
        assert difference <= TOLERANCE, (
            f"{match.pattern.id!r} has score {match.score}, its cosine is {exact[match.pattern.id]}"
        )
    assert_ordered(matches)
    if found:
        worst = min(exact[pattern_id] for pattern_id in found)
        missed = [i for i in exact.keys() - set(found) if exact[i] > worst + 2 * TOLERANCE]
        assert not missed, f"more similar, but not found: {missed[:5]}"


def assert_ordered(matches: Sequence[Match]) -> None:
    """Best first, equal scores by id."""
    keys = [(-match.score, match.pattern.id) for match in matches]
    assert keys == sorted(keys), f"not ordered by score, then by id: {keys[:10]}"
