"""EWC++ forgets less at nearly equal gain, through the whole update step."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.streams import Drifting, Journey, config_of, travel

from lorabank.adapter import Objective

SEEDS = (0, 1, 2)
STREAMS: list[tuple[Objective, float, float, float]] = [
    # objective, learning rate, overlap of the regions, size of the tasks
    ("mse", 0.5, 0.2, 2.0),
    ("contrastive", 0.3, 0.2, 4.0),
    ("contrastive", 0.5, 0.5, 4.0),
]


def journeys(
    objective: Objective, rate: float, leak: float, gain: float, strength: float
) -> list[Journey]:
    config = config_of(objective, rate, strength)
    return [travel(Drifting(objective, s, leak=leak, gain=gain), config) for s in SEEDS]


@pytest.mark.parametrize(("objective", "rate", "leak", "gain"), STREAMS)
def test_the_old_region_is_kept_at_nearly_equal_gain_in_the_new_one(
    objective: Objective, rate: float, leak: float, gain: float
) -> None:
    """Old loss at most 1.15 times what it was, at least 80 % of the gain, half the forgetting."""
    without = journeys(objective, rate, leak, gain, 0.0)
    held = journeys(objective, rate, leak, gain, 100.0)
    ratio = np.mean([j.end[0] / j.middle[0] for j in held])
    kept = np.mean([j.gained for j in held]) / np.mean([j.gained for j in without])
    forgotten = np.mean([j.forgotten for j in held]) / np.mean([j.forgotten for j in without])
    assert np.mean([j.forgotten for j in without]) > 0, "there is something to protect"
    assert ratio <= 1.15
    assert kept >= 0.80
    assert forgotten <= 0.5


@pytest.mark.parametrize(("objective", "rate", "leak", "gain"), STREAMS)
def test_the_first_task_is_learned_as_if_there_were_no_penalty(
    objective: Objective, rate: float, leak: float, gain: float
) -> None:
    free, held = (journeys(objective, rate, leak, gain, s)[0] for s in (0.0, 100.0))
    assert held.middle == free.middle
    assert held.middle[0] < 0.8 * held.start[0]


@pytest.mark.parametrize(("objective", "rate", "leak", "gain"), STREAMS)
def test_the_drift_and_nothing_else_is_signalled_within_forty_samples(
    objective: Objective, rate: float, leak: float, gain: float
) -> None:
    for journey in journeys(objective, rate, leak, gain, 100.0):
        assert len(journey.drifts) == 1
        task, update = journey.drifts[0]
        assert task == 1
        assert update < 4


@pytest.mark.parametrize("strength", [1e3, 1e6])
def test_no_strength_makes_the_pull_overshoot(strength: float) -> None:
    without, held = (
        travel(Drifting("mse", 1, leak=0.2, gain=2.0), config_of("mse", 0.5, s))
        for s in (0.0, strength)
    )
    assert held.forgotten < 0.1 * without.forgotten
