"""One summary per method."""

from __future__ import annotations

import numpy as np

from lorabank.evaluation.measures.curves import smooth, updates_to_target
from lorabank.evaluation.measures.harm import harm
from lorabank.evaluation.report.pooling import BLEND, LIKELY, POPULARITY, Pool
from lorabank.evaluation.report.results import At, BestSingle, Curve, Summary, Versus
from lorabank.statistics.scores import ndcg, user_means

AT = (5, 10, 25, 50)


def summarise(pool: Pool, key: str, best: str) -> Summary:
    """All numbers of one method; ``best`` is the best bank-free one."""
    outcomes = [run.outcomes[key] for run in pool.runs]
    ours, blend, likely = (pool.user_values(k) for k in (key, BLEND, LIKELY))
    draws = pool.resamples
    table, reference, popular = (pool.table(k) for k in (key, best, POPULARITY))
    events = len(pool.user) / len(pool.runs)
    serving = float(np.mean([outcome.serve_seconds for outcome in outcomes]))
    return Summary(
        key=key,
        name=outcomes[0].method.name,
        bank=outcomes[0].method.bank,
        ndcg=draws.mean(ours["ndcg"]),
        hit_rate=draws.mean(ours["hit_rate"]),
        nll=draws.mean(ours["nll"]),
        ndcg_vs_blend=draws.relative(ours["ndcg"], blend["ndcg"]),
        nll_vs_blend=draws.difference(ours["nll"], likely["nll"]),
        area_vs_bank_free=pool.cohort.difference(table.mean(axis=1), reference.mean(axis=1)),
        at=tuple(_at(pool, key, count) for count in AT if (pool.lengths >= count).any()),
        target=updates_to_target(table, reference, pool.cohort),
        target_adjusted=updates_to_target(table - popular, reference - popular, pool.cohort),
        harm_nll=harm(pool.nll(key) - pool.nll(LIKELY), pool.user, draws),
        harm_ndcg=harm(ndcg(pool.rank(BLEND)) - ndcg(pool.rank(key)), pool.user, draws),
        fit_seconds=float(np.mean([outcome.fit_seconds for outcome in outcomes])),
        milliseconds_per_event=1000 * serving / events,
        bytes_per_user=outcomes[0].bytes_per_user,
        choices=tuple(dict(outcome.choices) for outcome in outcomes),
    )


def versus(pool: Pool, ours: str, theirs: str) -> Versus:
    """Two methods on the same users."""
    a, b = pool.user_values(ours), pool.user_values(theirs)
    return Versus(
        ours=ours,
        theirs=theirs,
        ndcg=pool.resamples.relative(a["ndcg"], b["ndcg"]),
        nll=pool.resamples.difference(a["nll"], b["nll"]),
    )


def best_single(pool: Pool, key: str) -> BestSingle | None:
    """A mixture against the best of its experts in each seed; None if it was not run."""
    found = [run.single for run in pool.runs if run.single is not None]
    if len(found) < len(pool.runs):
        return None
    alone = user_means(np.concatenate([single.nll for single in found]), pool.user)
    nll = pool.resamples.difference(pool.user_values(key)["nll"], alone)
    return BestSingle(tuple(single.name for single in found), nll)


def curve(pool: Pool) -> Curve:
    """NLL, and what is gained on popularity, event by event."""
    means = {key: smooth(pool.table(key).mean(axis=0)) for key in pool.keys}
    popular = means[POPULARITY]
    return Curve(
        horizon=pool.horizon,
        users=int(np.count_nonzero(pool.lengths >= pool.horizon)),
        nll={key: tuple(mean.tolist()) for key, mean in means.items()},
        gain={key: tuple((popular - mean).tolist()) for key, mean in means.items()},
    )


def _at(pool: Pool, key: str, count: int) -> At:
    users = np.repeat(pool.lengths >= count, pool.lengths)
    rows = users & (pool.number < count)
    shape = (-1, count)
    rank = pool.rank(key)[rows].reshape(shape)
    return At(
        events=count,
        users=len(rank),
        ndcg=float(ndcg(rank).mean()),
        hit_rate=float((rank <= 10).mean()),
        nll=float(pool.nll(key)[rows].mean()),
    )
