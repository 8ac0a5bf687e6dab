"""The goals that the project set itself, each as reached or not on this log."""

from __future__ import annotations

from collections.abc import Iterator

from lorabank.evaluation.measures.drift import Drift
from lorabank.evaluation.report.results import BestSingle, Mark, Summary, Versus
from lorabank.evaluation.report.words import nats, percent, share

EVERYTHING = "everything"
# Of the one log that the goal was set for; on any other one the lower bound has to be above zero.
GAIN = {"movielens": 0.5}
FASTER, HARMED, FORGOTTEN, KEPT = 0.4, 0.05, 1.15, 0.8
KNN = ("knn", "knn_popularity", "likely_knn", "knn_shared")
# A control, and the shared prior at equal compute: by itself; in the same mixture with popularity
# and an own chain, which are no leak.
CONTROLS = {"random_hints": "shared", "shuffled_bank": "skills"}
PRIOR = {"shared": "the shared prior", "skills": "the shared prior in a mixture"}


def marks(
    data: str,
    methods: dict[str, Summary],
    versus: dict[tuple[str, str], Versus],
    drift: tuple[Drift, ...],
    excess: float | None,
    bound: float | None,
    single: BestSingle | None,
) -> Iterator[Mark]:
    """Every goal; ``reached`` is None where this run says nothing about it."""
    ours = methods.get(EVERYTHING)
    yield _gain(data, ours)
    yield _better("everything vs shared adapter", versus.get((EVERYTHING, "shared")))
    yield _over_neighbours(methods, versus)
    for name, pair in (
        ("skills vs random groups", ("skills", "random_groups")),
        ("hints vs default", ("hints", "user_default")),
    ):
        yield _not_worse(name, versus.get(pair))
    yield from _speed(ours)
    yield _harm(ours, excess, bound)
    yield _single(single)
    yield _drift(drift)
    for key, against in CONTROLS.items():
        name = f"{key.replace('_', ' ')} vs {PRIOR[against]}"
        yield _no_gain(name, versus.get((key, against)))


def _gain(data: str, ours: Summary | None) -> Mark:
    wanted = GAIN.get(data)
    text = "lower bound above zero" + (f", at least {percent(wanted)}" if wanted else "")
    name = "everything vs best frozen blend, nDCG@10"
    if ours is None:
        return Mark(name, text, "not run", None)
    gain = ours.ndcg_vs_blend
    return Mark(name, text, share(gain), gain.lower > 0 and gain.mean >= (wanted or 0.0))


def _better(name: str, found: Versus | None) -> Mark:
    wanted = "lower bound above zero"
    if found is None:
        return Mark(f"{name}, nDCG@10", wanted, "not run", None)
    return Mark(f"{name}, nDCG@10", wanted, share(found.ndcg), found.ndcg.lower > 0)


def _over_neighbours(methods: dict[str, Summary], versus: dict[tuple[str, str], Versus]) -> Mark:
    present = [key for key in KNN if key in methods]
    best = max(present, key=lambda key: methods[key].ndcg.mean, default=None)
    found = versus.get((EVERYTHING, best)) if best else None
    name, wanted = "everything vs best item-kNN, nDCG@10", "above zero"
    if found is None or best is None:
        return Mark(name, wanted, "not run", None)
    text = f"{share(found.ndcg)} against {methods[best].name.strip()}"
    return Mark(name, wanted, text, found.ndcg.mean > 0)


def _not_worse(name: str, found: Versus | None) -> Mark:
    wanted = "never significantly negative"
    if found is None:
        return Mark(name, wanted, "not run", None)
    text = f"nDCG@10 {share(found.ndcg, 1)}, NLL {nats(found.nll)}"
    return Mark(name, wanted, text, found.ndcg.upper >= 0 and found.nll.lower <= 0)


def _no_gain(name: str, found: Versus | None) -> Mark:
    wanted = "not better by its interval, in nDCG or NLL"
    if found is None:
        return Mark(name, wanted, "not run", None)
    text = f"nDCG@10 {share(found.ndcg, 1)}, NLL {nats(found.nll)}"
    return Mark(name, wanted, text, found.ndcg.lower <= 0 and found.nll.upper >= 0)


def _speed(ours: Summary | None) -> Iterator[Mark]:
    area = "area under the NLL curve vs best bank-free method"
    events = "events to the bank-free target"
    fewer = f"at least {percent(FASTER).lstrip('+')} fewer"
    if ours is None:
        yield Mark(area, "below zero by its upper bound", "not run", None)
        yield Mark(events, fewer, "not run", None)
        return
    difference = ours.area_vs_bank_free
    yield Mark(area, "below zero by its upper bound", nats(difference), difference.upper < 0)
    target = ours.target_adjusted
    count = f"{target.events.mean:.0f} events"
    saved = percent(abs(target.against.mean)).lstrip("+")
    text = f"{saved} {'more' if target.against.mean < 0 else 'fewer'} ({count})"
    reached = target.reached and target.against.mean >= FASTER
    yield Mark(events, fewer, text if target.reached else f"not within {count}", reached)


def _harm(ours: Summary | None, excess: float | None, bound: float | None) -> Mark:
    name, wanted = (
        "users harmed (NLL), and the bound",
        "excess <= 5 points, ln(1/w0) for every user",
    )
    if ours is None or excess is None or bound is None:
        return Mark(name, wanted, "not run", None)
    points = 100 * ours.harm_nll.excess.mean
    text = f"{points:+.1f} points; largest excess {excess:.2f} of {bound:.2f} nats"
    return Mark(name, wanted, text, points <= 100 * HARMED and excess <= bound + 1e-6)


def _single(found: BestSingle | None) -> Mark:
    name, wanted = "the mixture vs its best single expert, NLL", "not worse by its interval"
    if found is None:
        return Mark(name, wanted, "not run", None)
    experts = " or ".join(dict.fromkeys(found.experts))
    return Mark(name, wanted, f"{nats(found.nll)} against {experts}", found.nll.lower <= 0)


def _drift(found: tuple[Drift, ...]) -> Mark:
    name = "after a drift"
    wanted = f"old slice <= {FORGOTTEN}x, >= {percent(KEPT).lstrip('+')} of the new gain"
    if not found:
        return Mark(name, wanted, "not run", None)
    drift = found[0]
    if drift.unregularised_gain.lower <= 0:
        gain = nats(drift.unregularised_gain)
        return Mark(name, wanted, f"{drift.old_ratio.mean:.3f}x; no gain to keep: {gain}", None)
    text = f"{drift.old_ratio.mean:.3f}x, {100 * drift.kept.mean:.0f} % ({drift.method})"
    reached = drift.old_ratio.mean <= FORGOTTEN and drift.kept.mean >= KEPT
    return Mark(name, wanted, text, reached)
