"""Laws of filters: inside the search, and with the meaning of `PatternFilter.matches`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from lorabank.protocols import PatternStore
from lorabank.types.pattern import Pattern
from lorabank.types.query import PatternFilter
from lorabank_conformance.compare import assert_ranking, assert_same
from lorabank_conformance.laws import law
from lorabank_conformance.samples import NAMESPACE, NOW, Samples, outcome, trial
from lorabank_conformance.suite import Suite

FEW = {
    "user_key": PatternFilter(user_key="few"),
    "exclude_user_key": PatternFilter(exclude_user_key="many"),
    "min_reward": PatternFilter(min_reward=0.75),
    "success": PatternFilter(success=True),
    "since": PatternFilter(since=NOW + 500),
    "until": PatternFilter(until=NOW + 1500, since=NOW + 500),
    "objective": PatternFilter(objective="contrastive"),
    "rank": PatternFilter(rank=8),
    "has_trial": PatternFilter(has_trial=True),
}


class FilterLaws(Suite):
    """Filters.

    Attributes:
        crowd: patterns among which a tenant with ten is looked for.
    """

    crowd: ClassVar[int] = 2000

    @law()
    async def test_filter_inside_search(self, store: PatternStore) -> None:
        """Protects small tenants: with 10 patterns among thousands, one gets its 10.

        For each field of the filter; the 10 are the least similar of all, so that a filter applied
        after the search, to however many of the best, finds none of them.
        """
        make = self.make
        few = [_one_of_few(make, i, row) for i, row in enumerate(make.vectors(10, seed=21))]
        rows = make.vectors(self.crowd, seed=22)
        many = [_one_of_many(make, i, row) for i, row in enumerate(rows)]
        await store.put_many([*many, *few])
        for name, where in FEW.items():
            matches = await store.search(NAMESPACE, make.axis(0), 10, where)
            found = {match.pattern.id for match in matches}
            assert found == {pattern.id for pattern in few}, f"{name}: {len(found)} of 10"
            assert_ranking(matches, few, make.axis(0), 10)

    @law()
    async def test_filter_meaning(self, store: PatternStore) -> None:
        """Protects one meaning in all backends: search and scan agree with PatternFilter.matches.

        Bounds are compared in float64, and patterns without outcome pass no test of it.
        """
        make, rng = self.make, np.random.default_rng(23)
        patterns = [random_pattern(make, i, rng) for i in range(120)]
        await store.put_many(patterns)
        for where in [*edge_filters(), *(_random_filter(rng) for _ in range(30))]:
            passing = [pattern for pattern in patterns if where.matches(pattern)]
            assert_same(await store.scan(NAMESPACE, where, None, 1000), passing)
            matches = await store.search(NAMESPACE, make.axis(1), 1000, where)
            assert_ranking(matches, passing, make.axis(1), 1000)


def _one_of_few(make: Samples, number: int, row: np.ndarray) -> Pattern:
    context = row.copy()
    context[0] = -100.0
    return make.pattern(
        f"few{number}",
        context,
        user_key="few",
        objective="contrastive",
        rank=8,
        created_at=NOW + 1000,
        outcome=outcome(0.9, success=True),
        trial=trial(),
    )


def _one_of_many(make: Samples, number: int, row: np.ndarray) -> Pattern:
    context = row.copy()
    context[0] = 1.0 + abs(context[0])
    scored = None if number % 2 else outcome(0.2, success=False)
    return make.pattern(f"many{number}", context, user_key="many", outcome=scored)


_REWARDS = (0.0, 0.1 + 0.2, 0.3, 0.7, 1.0)
_TIMES = (0.0, NOW, math.nextafter(NOW, math.inf), NOW + 1)


def random_pattern(make: Samples, number: int, rng: np.random.Generator) -> Pattern:
    """The ``number``-th pattern, of few values in each field, so that filters meet equal ones."""
    scored = outcome(float(rng.choice(_REWARDS)), success=bool(rng.integers(2)))
    return make.pattern(
        f"p{number:03}",
        make.vectors(1, seed=number)[0],
        user_key=str(rng.choice(["ada", "bob", "cleo"])),
        objective=str(rng.choice(["mse", "contrastive"])),
        rank=int(rng.choice([1, 4, 8])),
        created_at=float(rng.choice(_TIMES)),
        outcome=scored if rng.random() < 0.7 else None,
        trial=trial() if rng.random() < 0.5 else None,
    )


_VALUES: dict[str, tuple[Any, ...]] = {
    "user_key": ("ada", "nobody", "ADA"),
    "exclude_user_key": ("ada", "nobody"),
    "min_reward": (*_REWARDS, -1.0, 2.0),
    "success": (True, False),
    "since": _TIMES,
    "until": (*_TIMES, NOW + 2),
    "objective": ("mse", "contrastive", "unheard of"),
    "rank": (1, 8, 9),
    "has_trial": (True, False),
}


def edge_filters() -> list[PatternFilter]:
    """Each field alone, with values that lie on the bounds."""
    return [PatternFilter(**{k: value}) for k, values in _VALUES.items() for value in values]


def _random_filter(rng: np.random.Generator) -> PatternFilter:
    """Each field is set in one filter of three."""
    fields = {name: values[rng.integers(len(values))] for name, values in _VALUES.items()}
    return PatternFilter(**{name: v for name, v in fields.items() if rng.random() < 1 / 3})
