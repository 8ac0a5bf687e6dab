"""Filters mean what `PatternFilter.matches` means, in SQL and in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from lorabank.types.pattern import Outcome, Pattern, TrialOutcome
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank_faiss import columns
from tests.faiss.samples import pattern

HUGE = 1 << 70


def various() -> list[Pattern]:
    rng = np.random.default_rng(0)

    def one(n: int) -> Pattern:
        outcome = Outcome(0.1, 0.2, 0.5, float(rng.integers(5)) / 4, bool(rng.random() < 0.5))
        trial = TrialOutcome(1.0, 1.0, 1.0, 2, ())
        return pattern(
            f"p{n}",
            user_key=str(rng.choice(["ada", "bob", "a'b", "ünï"])),
            objective=str(rng.choice(["mse", "contrastive"])),
            rank=int(rng.integers(1, 4)),
            created_at=float(rng.integers(5)),
            outcome=None if rng.random() < 0.3 else outcome,
            trial=trial if rng.random() < 0.3 else None,
        )

    return [one(n) for n in range(60)]


def filters() -> Iterator[PatternFilter]:
    values: dict[str, tuple[Any, ...]] = {
        "user_key": ("ada", "a'b", "nobody", "\ud800", "", "%"),
        "exclude_user_key": ("ada", "nobody", "\ud800"),
        "min_reward": (0.0, 0.5, 1.0, 2.0, -np.inf, np.inf, np.nan),
        "success": (True, False),
        "since": (0.0, 2.0, 2, 9.0, -np.inf, np.nan),
        "until": (0.0, 2.0, 9.0, np.inf, np.nan),
        "objective": ("mse", "contrastive", "neither"),
        "rank": (1, 3, 9, HUGE),
        "has_trial": (True, False),
    }
    yield EVERYTHING
    single = [{name: value} for name, choices in values.items() for value in choices]
    yield from (PatternFilter(**one) for one in single)
    yield from (PatternFilter(**a, **b) for a in single for b in single if a.keys() != b.keys())


@pytest.fixture(scope="module")
def stored() -> list[Pattern]:
    return various()


def test_in_memory(stored: list[Pattern]) -> None:
    marks = "?, " * len(columns.STORED.split(",")) + "?"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE pattern(namespace, {columns.STORED})")
        connection.executemany(
            f"INSERT INTO pattern VALUES ({marks})", [(1, *columns.stored(p)) for p in stored]
        )
        selected = connection.execute(f"SELECT {columns.SELECTED} FROM pattern").fetchall()
        held = np.array(selected, columns.DTYPE)
        for where in filters():
            expected = [where.matches(one) for one in stored]
            assert columns.passing(held, held["user"], where).tolist() == expected, where
            condition, values = columns.conditions(where)
            query = f"SELECT (1{condition}) IS TRUE FROM pattern"
            found = [bool(row[0]) for row in connection.execute(query, values)]
            assert found == expected, where
