"""The Page-Hinkley test: has the mean of a stream of losses gone up?

Page 1954; Mouss et al. 2004.
"""

from __future__ import annotations

from lorabank.types.weights import DriftState


def page_hinkley(
    state: DriftState, value: float, *, delta: float, threshold: float
) -> tuple[DriftState, bool]:
    """One more value.

    Args:
        state: of the test so far.
        value: the loss.
        delta: rise of the mean that is tolerated, in units of the loss.
        threshold: cumulated rise that counts as a drift, in units of the loss.

    Returns:
        The next state, and whether a drift is signalled (then the state starts anew).
    """
    count = state.count + 1
    mean = state.mean + (value - state.mean) / count
    cumulative = state.cumulative + value - mean - delta
    minimum = min(state.minimum, cumulative)
    if cumulative - minimum > threshold:
        return DriftState(), True
    return DriftState(count, mean, cumulative, minimum), False
