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
import sys
from collections.abc import Sequence
from itertools import repeat

from lorabank.types.mixture import MOST_LOG_ODDS, Mixture

# Below this a sum has lost digits.
SMALLEST = sys.float_info.min


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
        joint, below = _joint(weights, values)
        scores.append(_log_mean(log_odds, values[0], below))
        powered = values
        if power != 1.0:
            powered = [power * value if power else 0.0 for value in values]
            joint, below = _joint(weights, powered)
        if below == -math.inf:
            continue
        observed += 1
        weights = _shared(joint, prior, share / (1.0 + share * observed))
        log_odds = min(max(log_odds + powered[0] - below, -MOST_LOG_ODDS), MOST_LOG_ODDS)
    return Mixture(log_odds, tuple(weights), observed), scores


def _joint(weights: Sequence[float], logs: Sequence[float]) -> tuple[list[float], float]:
    """``w_k exp(l_k)`` up to a factor, and the log of their sum, without overflow."""
    found, total, peak = _beside_the_largest(weights, logs)
    if total < SMALLEST:
        # The largest carries no weight, and the others vanish beside it.
        carried = [value if w > 0 else -math.inf for w, value in zip(weights, logs, strict=True)]
        found, total, peak = _beside_the_largest(weights, carried)
    return found, peak + math.log(total) if total > 0 else -math.inf


def _beside_the_largest(
    weights: Sequence[float], logs: Sequence[float]
) -> tuple[list[float], float, float]:
    """``w_k exp(l_k - max l)``, their sum, and ``max l``."""
    peak = max(logs)
    if peak == -math.inf:
        return [], 0.0, peak
    found = [w * math.exp(value - peak) for w, value in zip(weights, logs, strict=True)]
    return found, math.fsum(found), peak


def _log_mean(log_odds: float, first: float, second: float) -> float:
    """``log(p exp(first) + (1 - p) exp(second))``, where ``log_odds`` are those of p."""
    least = math.log1p(math.exp(-abs(log_odds)))
    first += min(log_odds, 0.0) - least
    second -= max(log_odds, 0.0) + least
    peak = max(first, second)
    if peak == -math.inf:
        return peak
    return peak + math.log1p(math.exp(min(first, second) - peak))


def _shared(joint: Sequence[float], prior: Sequence[float], share: float) -> list[float]:
    """Bayes' rule, then the share; sums to 1 as the prior does."""
    kept, total = 1.0 - share, math.fsum(joint)
    return [kept * (term / total) + share * back for term, back in zip(joint, prior, strict=True)]
