"""From what was served to the numbers of the tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lorabank.demo.protocol import Protocol
from lorabank.demo.replay import Served
from lorabank.demo.results import Change, CurvePoint, Method, OnlineEffect, Times
from lorabank.demo.tuning import Tuned
from lorabank.evaluation.bootstrap import paired_bootstrap
from lorabank.evaluation.events import Events
from lorabank.evaluation.metrics import EventScores, UserScores, score_events, user_scores
from lorabank.numerics.contrastive import Calibration
from lorabank.statistics.scores import ndcg, user_means
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray

NAMES = {
    "popularity": "popularity",
    "blend": "frozen blend (tuned)",
    "frozen": "frozen, max. likelihood",
    "without_bank": "personalised, no bank",
    "bank_start": "bank's start, no learning",
    "with_bank": "personalised with the bank",
}
IN_CURVE = ("blend", "frozen", "without_bank", "bank_start", "with_bank")
# A mean over fewer users says nothing.
CURVE_USERS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One method on all events of the new users."""

    events: EventScores
    users: UserScores


def score_all(
    protocol: Protocol,
    tuned: Tuned,
    log_prior: FloatArray,
    served: Mapping[str, Served],
) -> dict[str, Scored]:
    """Every method, in the order of `NAMES`. Takes seconds: call it in a worker thread."""
    new = np.isin(protocol.events.user, protocol.split.new)
    events = protocol.events.where(new)
    blend = protocol.with_decay(tuned.blend.decay).where(new).x
    fixed = {
        "popularity": (events.x, tuned.popularity),
        "blend": (blend, tuned.blend_calibration),
        "frozen": (events.x, tuned.identity),
    }
    scores = {
        key: _score(protocol, events, vectors, log_prior, calibration)
        for key, (vectors, calibration) in fixed.items()
    }
    for key, arm in served.items():
        calibration = (arm.tau[new], arm.prior_weight[new])
        scores[key] = _score(protocol, events, arm.vectors[new], log_prior, calibration)
    return {key: scores[key] for key in NAMES}


def methods(scores: Mapping[str, Scored]) -> tuple[Method, ...]:
    """The table: means over users, compared with the blend (ranking) and the frozen (NLL)."""
    blend, frozen = scores["blend"].users, scores["frozen"].users
    return tuple(
        Method(
            key=key,
            name=NAMES[key],
            ndcg=float(mine.users.ndcg.mean()),
            hit_rate=float(mine.users.hit_rate.mean()),
            nll=float(mine.users.nll.mean()),
            ndcg_vs_blend=paired_bootstrap(mine.users.ndcg, blend.ndcg).relative,
            hit_rate_vs_blend=paired_bootstrap(mine.users.hit_rate, blend.hit_rate).relative,
            nll_vs_frozen=paired_bootstrap(mine.users.nll, frozen.nll).difference,
        )
        for key, mine in scores.items()
    )


def learning_curve(events: Events, batch: int, scores: Mapping[str, Scored]) -> list[CurvePoint]:
    """After 0, 1, 2... updates, as long as enough users have a batch then."""
    number = events.number // batch
    points = []
    for updates in range(int(number.max()) + 1):
        rows = number == updates
        user = events.user[rows]
        count = len(np.unique(user))
        if count < CURVE_USERS:
            break
        parts = {key: scores[key].events for key in IN_CURVE}
        points.append(
            CurvePoint(
                updates=updates,
                users=count,
                ndcg={k: _mean(ndcg(part.rank[rows]), user) for k, part in parts.items()},
                nll={k: _mean(part.nll[rows], user) for k, part in parts.items()},
            )
        )
    return points


def change(measure: str, against: str, gain: AnyFloatArray) -> Change:
    """Users by the sign of ``gain`` (u,), above zero for better."""
    better, worse = gain[gain > 0], gain[gain < 0]
    return Change(
        measure=measure,
        against=against,
        helped=len(better),
        harmed=len(worse),
        unchanged=len(gain) - len(better) - len(worse),
        helped_share=len(better) / len(gain),
        harmed_share=len(worse) / len(gain),
        helped_mean=float(better.mean()) if len(better) else 0.0,
        harmed_mean=float(worse.mean()) if len(worse) else 0.0,
        worst=float(gain.min()),
        differences=tuple(np.sort(gain).tolist()),
    )


def changes(scores: Mapping[str, Scored]) -> tuple[Change, ...]:
    """Personalised with the bank: ranking against the blend, likelihood against the frozen."""
    mine, blend, frozen = (scores[key].users for key in ("with_bank", "blend", "frozen"))
    return (
        change("ndcg", "blend", mine.ndcg - blend.ndcg),
        change("nll", "frozen", frozen.nll - mine.nll),
    )


def online_effect(scores: Mapping[str, Scored]) -> OnlineEffect:
    """The with-bank adapters as they learn, against the same ones as they started."""
    mine, start = scores["with_bank"].users, scores["bank_start"].users
    return OnlineEffect(
        ndcg=paired_bootstrap(mine.ndcg, start.ndcg).relative,
        nll=paired_bootstrap(mine.nll, start.nll).difference,
    )


def times(milliseconds: Sequence[float] | AnyFloatArray) -> Times:
    """Median and 95th percentile."""
    if not len(milliseconds):
        return Times(0, 0.0, 0.0)
    median, p95 = np.percentile(milliseconds, [50, 95])
    return Times(len(milliseconds), float(median), float(p95))


def _score(
    protocol: Protocol,
    events: Events,
    vectors: FloatArray,
    log_prior: FloatArray,
    calibration: Calibration | tuple[FloatArray, FloatArray],
) -> Scored:
    scores = score_events(protocol.log, events, vectors, protocol.items, log_prior, calibration)
    return Scored(scores, user_scores(events, scores))


def _mean(values: AnyFloatArray, user: IntArray) -> float:
    return float(user_means(values, user).mean())
