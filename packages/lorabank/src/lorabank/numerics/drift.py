"""The Page-Hinkley test on standardised values: has the mean of a stream gone up?

Page 1954; Mouss et al. 2004. Values are divided by their own running standard deviation, so that
one threshold serves every objective, embedding and batch size.
"""

from __future__ import annotations

import math

from lorabank.types.weights import DriftState

WARM_UP = 8
"""Values that the mean and the deviation are learned from before anything is signalled."""
HORIZON = 32
"""Values that the running mean and variance remember: a learner's loss falls as it learns."""
LARGEST = 4.0
"""One value counts as at most so many deviations, so that no single outlier is a drift."""
LEAST_DEVIATION = 1e-3


def page_hinkley(
    state: DriftState, value: float, *, delta: float, threshold: float, samples: int = 1
) -> tuple[DriftState, bool]:
    """One more value.

    Args:
        state: of the test so far.
        value: a mean over ``samples`` samples.
        delta: rise of the mean that is tolerated, in standard deviations.
        threshold: cumulated rise that counts as a drift, in standard deviations.
        samples: behind the value; its variance is that of one sample divided by them.

    Returns:
        The next state, and whether a drift is signalled (then the state starts anew).
    """
    count = state.count + 1
    deviation = value - state.mean
    cumulative = state.cumulative
    if count > WARM_UP:
        unit = max(math.sqrt(state.variance), LEAST_DEVIATION) / math.sqrt(samples)
        cumulative += min(deviation / unit, LARGEST) - delta
    minimum = min(state.minimum, cumulative)
    if cumulative - minimum > threshold:
        return DriftState(), True
    rate = 1.0 / min(count, HORIZON)
    mean = state.mean + rate * deviation
    spread = state.variance + rate * samples * deviation**2 if state.count else 0.0
    return DriftState(count, mean, (1.0 - rate) * spread, cumulative, minimum), False
