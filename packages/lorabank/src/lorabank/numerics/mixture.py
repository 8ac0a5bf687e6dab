"""Mixing experts' probabilities by how well each has predicted: two levels, K + 2 numbers.

Above: a Bayes mixture of "the identity for good", with prior weight w0, and of the level below.
Below: fixed share over all K experts, the identity among them (Herbster & Warmuth 1998): after
observation t a share ``s / (1 + s t)`` of the weight goes back to the prior, so no expert is ever
lost. The share decreases (Adamskiy et al. 2012, section 5) because a constant one costs a constant
number of nats per observation for ever: after a long time with the identity in front, "the
identity for good" would be too far ahead for a drift to be noticed soon.

In nats, over any sequence of T observations:

- against the identity: at most ``ln(1 / w0)`` more in total, because the mixture's likelihood is at
  least w0 times the identity's;
- against the best single expert k, of prior weight p_k: at most ``ln(1 / (1 - w0)) + ln(1 / p_k) +
  ln(1 + s (T - 1))`` more: the products of the ``1 - s / (1 + s t)`` telescope;
- against any sequence of experts: for every switch after observation t, to expert k, there is
  ``ln((1 + s t) / (s p_k))`` more.

An observation of weight r in [0, 1] counts as likelihood to the power r. The bounds then hold for
the weighted losses: ``t -> t^r`` is concave, so that ``(sum w_k p_k)^r >= sum w_k p_k^r``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

from lorabank.types.mixture import MOST_LOG_ODDS, Mixture, served

# Exponents that float64 can still take; only a weight of next to nothing is multiplied by more.
LARGEST = 700.0


def new_mixture(prior: Sequence[float], identity_weight: float) -> Mixture:
    """A mixture that has seen nothing; ``identity_weight`` is w0, in (0, 1)."""
    return Mixture(math.log(identity_weight) - math.log1p(-identity_weight), tuple(prior))


def with_experts(mixture: Mixture, prior: Sequence[float]) -> Mixture:
    """The same mixture over other experts, which start from their prior.

    What the identity has earned stays, and so the bound against it goes on holding in total: the
    other side of it is any way of predicting, this change of experts included.
    """
    return Mixture(mixture.log_odds, tuple(prior))


def observe(
    mixture: Mixture,
    log_likelihoods: Sequence[Sequence[float]],
    prior: Sequence[float],
    share: float,
    powers: Sequence[float] | None = None,
) -> tuple[Mixture, list[float]]:
    """Score each observation, then learn from it.

    Args:
        mixture: before the first.
        log_likelihoods: of the observations under each expert, (n, K), in the order in which they
            happened; -inf where one was impossible.
        prior: weights that the share goes back to, (K,), above zero, summing to 1.
        share: s, in (0, 1]: the greater, the sooner a drift is followed.
        powers: weights of the observations, (n,), in [0, 1]; None: all count in full.

    Returns:
        The mixture afterwards, and its log likelihood of each observation beforehand. What was
        impossible for every expert (-inf) teaches nothing.
    """
    log_odds, weights, observed = mixture.log_odds, list(mixture.weights), mixture.observed
    scores = []
    for values, power in zip(
        log_likelihoods, powers or repeat(1.0, len(log_likelihoods)), strict=True
    ):
        scores.append(_log_dot(served(log_odds, weights), values))
        powered = values if power == 1.0 else [power * v if power else 0.0 for v in values]
        below = _log_dot(weights, powered)
        if below == -math.inf:
            continue
        observed += 1
        weights = _reweighted(weights, powered, below, prior, share / (1.0 + share * observed))
        log_odds = min(max(log_odds + powered[0] - below, -MOST_LOG_ODDS), MOST_LOG_ODDS)
    return Mixture(log_odds, tuple(weights), observed), scores


def _reweighted(
    weights: Sequence[float],
    logs: Sequence[float],
    total: float,
    prior: Sequence[float],
    share: float,
) -> list[float]:
    """Bayes' rule, then the share."""
    kept = 1.0 - share
    found = [
        kept * weight * math.exp(min(value - total, LARGEST)) + share * back
        for weight, value, back in zip(weights, logs, prior, strict=True)
    ]
    mass = math.fsum(found)
    return [weight / mass for weight in found]


def _log_dot(weights: Sequence[float], logs: Sequence[float]) -> float:
    """``log sum_k w_k exp(l_k)`` without overflow."""
    peak = max(logs)
    if peak == -math.inf:
        return peak
    terms = [w * math.exp(value - peak) for w, value in zip(weights, logs, strict=True)]
    total = math.fsum(terms)
    # The largest may carry no weight: then its neighbours may all have vanished beside it.
    return peak + math.log(total) if total > 0 else _log_dot_slowly(weights, logs)


def _log_dot_slowly(weights: Sequence[float], logs: Sequence[float]) -> float:
    terms = [math.log(w) + value for w, value in zip(weights, logs, strict=True) if w > 0]
    peak = max(terms, default=-math.inf)
    if peak == -math.inf:
        return peak
    return peak + math.log(math.fsum(math.exp(term - peak) for term in terms))
