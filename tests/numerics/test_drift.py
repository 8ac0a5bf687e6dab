"""The Page-Hinkley test on standardised values."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from lorabank.numerics.drift import WARM_UP, page_hinkley
from lorabank.types.weights import DriftState

finite = st.floats(-1e6, 1e6)


def alarms(
    values: ArrayLike, *, delta: float = 0.5, threshold: float = 5.0, samples: int = 1
) -> list[int]:
    state, found = DriftState(), []
    for i, value in enumerate(np.asarray(values, np.float64)):
        state, drift = page_hinkley(
            state, float(value), delta=delta, threshold=threshold, samples=samples
        )
        if drift:
            found.append(i)
    return found


def test_a_rise_is_found_soon_and_only_once() -> None:
    rng = np.random.default_rng(1)
    found = alarms([*rng.normal(1, 0.2, 100), *rng.normal(2, 0.2, 30)])
    assert len(found) == 1
    assert 100 <= found[0] <= 102


def test_a_fall_is_no_drift() -> None:
    steady = fallen = 0
    for seed in range(50):
        noise = np.random.default_rng(seed).normal(0, 0.2, 200)
        steady += len(alarms(noise))
        fallen += len(alarms(noise - np.repeat([0.0, 1.0], 100)))
    assert fallen <= steady < 50 * 200 / 100


def test_a_learning_curve_is_no_drift() -> None:
    rng = np.random.default_rng(0)
    assert alarms(np.exp(-np.arange(300) / 50) + rng.normal(0, 0.05, 300)) == []


def test_false_alarms_are_rare_on_a_steady_stream() -> None:
    rng = np.random.default_rng(0)
    assert len(alarms(rng.normal(0, 1, 20_000))) < 20_000 / 100


def test_one_outlier_is_no_drift() -> None:
    assert alarms([*np.resize([-1.0, 1.0], 50), 1e9, *np.resize([-1.0, 1.0], 50)]) == []


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([0.1, 1.0, 100.0]), finite)
def test_alarms_do_not_depend_on_the_unit_or_the_origin_of_the_values(
    seed: int, unit: float, origin: float
) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0, 1, 60), rng.normal(3, 1, 20)])
    assert alarms(unit * values) == alarms(values)
    assert alarms(values + round(origin)) == alarms(values)


def test_alarms_do_not_depend_on_the_batch_size_for_the_same_deviation() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0, 1, 60), rng.normal(3, 1, 20)])
    assert alarms(values, samples=16) == alarms(values)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(finite, max_size=WARM_UP))
def test_nothing_is_signalled_while_the_deviation_is_still_unknown(values: list[float]) -> None:
    assert alarms(values) == []


def test_after_a_signal_the_test_starts_anew() -> None:
    state, drift = DriftState(20, 0.0, 1.0, 4.9, 0.0), False
    state, drift = page_hinkley(state, 100.0, delta=0.5, threshold=5.0)
    assert drift
    assert state == DriftState()
