"""What a run of the demo finds: plain numbers, and the JSON that they become.

The names of the fields are the keys of the JSON; ``docs/demo.md`` describes each.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from lorabank.evaluation.bootstrap import Interval
from lorabank.evaluation.machine import Machine
from lorabank.types.strategy import ArmEffect


@dataclass(frozen=True, slots=True)
class Setup:
    """What went in."""

    seed: int
    bank: str
    quick: bool
    users_past: int
    users_new: int
    items: int
    ratings: int
    likes: int
    events_past: int
    events_new: int
    batch: int
    rank: int
    learning_rate: float
    ewc_strength: float
    context_decay: float
    context_window: int
    blend_decay: float
    blend_weight: float
    blend_popularity: float


@dataclass(frozen=True, slots=True)
class Method:
    """One way of ranking: means over new users, and paired comparisons with their intervals."""

    key: str
    name: str
    ndcg: float
    hit_rate: float
    nll: float
    ndcg_vs_blend: Interval
    hit_rate_vs_blend: Interval
    nll_vs_frozen: Interval


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Means over the users who have a batch after so many updates; by method's key."""

    updates: int
    users: int
    ndcg: dict[str, float]
    nll: dict[str, float]


@dataclass(frozen=True, slots=True)
class Change:
    """Users helped and harmed by one measure; ``differences`` above zero are better, sorted."""

    measure: str
    against: str
    helped: int
    harmed: int
    unchanged: int
    helped_share: float
    harmed_share: float
    helped_mean: float
    harmed_mean: float
    worst: float
    differences: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class OnlineEffect:
    """What online learning adds to the bank's start: paired, over users; NLL below 0 is better."""

    ndcg: Interval
    nll: Interval


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of updates; zero where there was none."""

    updates: int
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Updates:
    """Updates with the bank: how many, how many ran with hints, and how the bank answered.

    ``continued`` are a killed run's; hints, cache and times are of the others.
    """

    past: int
    new: int
    continued: int
    hinted: int
    cache_hits: int
    cache_misses: int
    cache_hit_rate: float
    cold_ms: Times
    warm_ms: Times
    without_bank_ms: Times


@dataclass(frozen=True, slots=True)
class Episodes:
    """One episode per update. ``held`` is what the bank says it holds; ``lost`` what is missing."""

    made: int
    held: int
    dead: int
    undelivered: int
    lost: int


@dataclass(frozen=True, slots=True)
class Skills:
    """What consolidation made; ``gain`` is that of the prior for everyone, on held-out users."""

    stored: int
    with_weights: int
    started_from: int
    gain: Interval


@dataclass(frozen=True, slots=True)
class Run:
    """Everything about one seed."""

    setup: Setup
    methods: tuple[Method, ...]
    learning_curve: tuple[CurvePoint, ...]
    arms: tuple[ArmEffect, ...]
    recommendation: str
    changes: tuple[Change, ...]
    online: OnlineEffect
    updates: Updates
    episodes: Episodes
    skills: Skills
    seconds: dict[str, float]

    def method(self, key: str) -> Method:
        """The method of that key."""
        return next(method for method in self.methods if method.key == key)


@dataclass(frozen=True, slots=True)
class MeanOverSeeds:
    """Means over the runs, and the lowest of the runs' lower bounds."""

    key: str
    ndcg: float
    hit_rate: float
    nll: float
    ndcg_vs_blend: float
    ndcg_vs_blend_lowest: float


@dataclass(frozen=True, slots=True)
class Report:
    """One or more runs, and what they were run with."""

    lorabank: str
    command: str
    machine: Machine
    runs: tuple[Run, ...]
    mean: tuple[MeanOverSeeds, ...]


def to_json(report: Report) -> dict[str, Any]:
    """Plain dicts, lists, strings, finite numbers."""
    return dataclasses.asdict(report)


def mean_over_seeds(runs: tuple[Run, ...]) -> tuple[MeanOverSeeds, ...]:
    """One entry per method, in the order of the methods."""
    return tuple(_mean([run.method(method.key) for run in runs]) for method in runs[0].methods)


def _mean(same: list[Method]) -> MeanOverSeeds:
    count = len(same)
    return MeanOverSeeds(
        key=same[0].key,
        ndcg=sum(m.ndcg for m in same) / count,
        hit_rate=sum(m.hit_rate for m in same) / count,
        nll=sum(m.nll for m in same) / count,
        ndcg_vs_blend=sum(m.ndcg_vs_blend.mean for m in same) / count,
        ndcg_vs_blend_lowest=min(m.ndcg_vs_blend.lower for m in same),
    )
