"""What an evaluation finds: plain numbers, and the JSON that they become.

The names of the fields are the keys of the JSON; ``docs/evaluate.md`` describes each.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from lorabank.evaluation.bootstrap import Interval
from lorabank.evaluation.machine import Machine
from lorabank.evaluation.measures.curves import Target
from lorabank.evaluation.measures.drift import Drift
from lorabank.evaluation.measures.harm import Harm


@dataclass(frozen=True, slots=True)
class Data:
    """What was read."""

    name: str
    rows: int
    rated: bool
    skipped: dict[str, int]
    repeated: int
    users: int
    sampled: float
    used_rows: int
    likes: int
    items: int
    items_skipped: dict[str, int]
    dim: int
    clock: bool


@dataclass(frozen=True, slots=True)
class Seed:
    """One seed. ``cut`` is None for a split of users; ``seconds`` are of one core."""

    seed: int
    users_fit: int
    users_choose: int
    users_new: int
    users_left_out: int
    likes_fit: int
    events_new: int
    cut: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class At:
    """Means over a user's first events, of the users who have as many."""

    events: int
    users: int
    ndcg: float
    hit_rate: float
    nll: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One method over all seeds.

    Attributes:
        bank: whether it needs the bank.
        ndcg, hit_rate, nll: means over users with their intervals.
        ndcg_vs_blend: relative to the blend that ranks best.
        nll_vs_blend: minus that of the blend that is most likely.
        area_vs_bank_free: area under the NLL curve, minus that of the best bank-free method.
        at: after 5, 10, 25 and 50 events.
        target: events until the bank-free target is reached, on raw NLL.
        target_adjusted: the same on NLL minus popularity's, event by event.
        harm_nll, harm_ndcg: users harmed, against the blend of each measure.
        fit_seconds: mean over seeds; of one core.
        milliseconds_per_event: serving and learning, of one core.
        bytes_per_user: of state.
        choices: by seed.
    """

    key: str
    name: str
    bank: bool
    ndcg: Interval
    hit_rate: Interval
    nll: Interval
    ndcg_vs_blend: Interval
    nll_vs_blend: Interval
    area_vs_bank_free: Interval
    at: tuple[At, ...]
    target: Target
    target_adjusted: Target
    harm_nll: Harm
    harm_ndcg: Harm
    fit_seconds: float
    milliseconds_per_event: float
    bytes_per_user: float
    choices: tuple[dict[str, float], ...]


@dataclass(frozen=True, slots=True)
class Versus:
    """One method against another: nDCG relative, NLL minus (below zero is better)."""

    ours: str
    theirs: str
    ndcg: Interval
    nll: Interval


@dataclass(frozen=True, slots=True)
class BestSingle:
    """The mixture against the best of its experts alone, known afterwards.

    Attributes:
        experts: its name in each seed.
        nll: of everything, minus that expert's (below zero is better).
    """

    experts: tuple[str, ...]
    nll: Interval


@dataclass(frozen=True, slots=True)
class Curve:
    """Means over the same ``users`` at each event, smoothed over the last few; by method's key."""

    horizon: int
    users: int
    nll: dict[str, tuple[float, ...]]
    gain: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Mark:
    """One goal of the project, and what this log gives. ``reached`` is None if not measured."""

    name: str
    wanted: str
    found: str
    reached: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation."""

    lorabank: str
    command: str
    machine: Machine
    data: Data
    settings: dict[str, Any]
    seeds: tuple[Seed, ...]
    best_bank_free: str
    methods: tuple[Summary, ...]
    versus: tuple[Versus, ...]
    curve: Curve
    drift: tuple[Drift, ...]
    excess_over_identity: float | None
    excess_bound: float | None
    best_single: BestSingle | None
    marks: tuple[Mark, ...]
    findings: tuple[str, ...]

    def method(self, key: str) -> Summary | None:
        """The method of that key, if it was run."""
        return next((method for method in self.methods if method.key == key), None)


def to_json(report: Report) -> dict[str, Any]:
    """Plain dicts, lists, strings, finite numbers."""
    return dataclasses.asdict(report)
