"""Effects and hints against simulated users, whose true effects are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabank.statistics import (
    EFFECT_LIMIT,
    arm_effects,
    choose_hints,
    clustered_means,
    confidence_in,
    effective_number,
)
from lorabank.strategy import evidence_filter, learn
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.pattern import Match
from lorabank.types.query import PatternFilter
from lorabank.types.strategy import ArmEffect
from lorabank.types.trials import Trials

DEFAULTS = Hyperparameters(learning_rate=0.05)
ARMS = [
    ("learning_rate", 0.5), ("learning_rate", 2.0), ("learning_rate", 4.0),
    ("clip_threshold", 0.5), ("clip_threshold", 2.0),
    ("ewc_strength", 2.0), ("steps", 2.0), ("steps", 3.0),
]  # fmt: skip


@pytest.fixture(scope="session")
def simulate(make_pattern, make_trial):
    """Trials of users who differ in their true effects and in how many trials they have."""

    def make(rng, users, true=None, spread=0.02, noise=0.05):
        true = true or {}
        patterns = []
        for user in range(users):
            own = {arm: true.get(arm, 0.0) + spread * rng.standard_normal() for arm in ARMS}
            for episode in range(rng.integers(1, 8)):
                seen = {arm: own[arm] + noise * rng.standard_normal() for arm in ARMS}
                patterns.append(
                    make_pattern(f"{user}-{episode}", user_key=f"u{user}", trial=make_trial(seen))
                )
        return patterns

    return make


def test_means_count_each_user_once() -> None:
    means = clustered_means([1, 1, 1, 1, 4, 7], [0] * 6, [0, 0, 0, 0, 1, 2], 2)
    assert means.mean[0] == pytest.approx(4.0)
    assert means.standard_error[0] == pytest.approx(3.0 / math.sqrt(3))
    assert means.users.tolist() == [3, 0]
    assert means.observations.tolist() == [6, 0]
    assert means.effective_users[0] == pytest.approx(36 / 18)
    assert means.interval(0, 0.95)[1] == pytest.approx(4.0 + 4.302652729911275 * math.sqrt(3))


def test_fewer_than_two_users_say_nothing() -> None:
    means = clustered_means([1.0, 2.0], [0, 0], [3, 3], 1)
    assert means.interval(0, 0.95) == (-math.inf, math.inf)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_the_effective_number_lies_between_one_and_the_number_of_users(counts) -> None:
    number = float(effective_number(np.array(counts)))
    users = sum(count > 0 for count in counts)
    assert number == 0 if users == 0 else 1 - 1e-9 <= number <= users + 1e-9


@pytest.mark.parametrize("users", [5, 25])
def test_intervals_cover_the_truth_as_often_as_they_say(simulate, users) -> None:
    rng, runs = np.random.default_rng(11), 150
    truth = {("learning_rate", 2.0): 0.03}
    missed_any = 0
    for _ in range(runs):
        effects = arm_effects(simulate(rng, users, truth), DEFAULTS)
        missed_any += any(
            not e.lower <= truth.get((e.parameter, e.factor), 0.0) <= e.upper for e in effects
        )
    # Nominal 5 % for all arms together; three standard errors above that.
    assert missed_any / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("users", [5, 25])
def test_without_an_effect_there_is_hardly_ever_a_hint(simulate, users) -> None:
    rng, runs = np.random.default_rng(12), 150
    false = sum(
        choose_hints(arm_effects(simulate(rng, users), DEFAULTS), DEFAULTS) != Hints()
        for _ in range(runs)
    )
    # Half of the nominal 5 % lies above zero; three standard errors above that.
    assert false / runs <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / runs)


def test_a_real_effect_is_found_and_the_right_arm_is_hinted(simulate) -> None:
    rng, runs = np.random.default_rng(13), 40
    truth = {("learning_rate", 0.5): -0.03, ("learning_rate", 2.0): 0.04, ("steps", 3.0): 0.05}
    given = right = 0
    for _ in range(runs):
        hints = choose_hints(arm_effects(simulate(rng, 80, truth), DEFAULTS), DEFAULTS)
        given += hints != Hints()
        right += hints in (
            Hints(learning_rate=0.1, confidence=hints.confidence, reasons=hints.reasons),
            Hints(steps=3, confidence=hints.confidence, reasons=hints.reasons),
        )
    assert right == given >= 0.9 * runs


def test_episodes_of_one_busy_user_are_not_evidence_of_many(make_pattern, make_trial) -> None:
    rng = np.random.default_rng(14)
    trials = [make_trial({("steps", 2.0): 0.1 + 0.001 * rng.standard_normal()}) for _ in range(300)]
    busy = [make_pattern(f"b{n}", user_key="busy", trial=t) for n, t in enumerate(trials)]
    assert arm_effects(busy, DEFAULTS) == ()
    others = [
        make_pattern(f"o{n}", user_key=f"o{n}", trial=make_trial({("steps", 2.0): effect}))
        for n, effect in enumerate((-0.05, 0.01, 0.0, -0.02))
    ]
    (effect,) = arm_effects(busy + others, DEFAULTS)
    assert (effect.users, effect.trials) == (5, 304)
    assert effect.lower < 0


def test_one_absurd_loss_does_not_decide(make_pattern, make_trial) -> None:
    good = [
        make_pattern(f"g{n}", user_key=f"g{n}", trial=make_trial({("steps", 2.0): 0.04 + n / 2e4}))
        for n in range(120)
    ]
    (before,) = arm_effects(good, DEFAULTS)
    null = [
        replace(p, trial=make_trial({("steps", 2.0): (n % 7 - 3) / 1e3}))
        for n, p in enumerate(good)
    ]
    for absurd in (-1e29, 1e29):
        odd = make_pattern("x", user_key="x", trial=make_trial({("steps", 2.0): absurd}))
        (after,) = arm_effects([*good, odd], DEFAULTS)
        assert abs(after.mean - before.mean) <= (EFFECT_LIMIT + before.mean) / 120
        assert after.lower > 0
        assert arm_effects([*null, odd], DEFAULTS)[0].lower <= 0


def test_an_arm_of_too_few_users_is_left_out_and_not_counted(make_pattern, make_trial) -> None:
    both = {("steps", 2.0): 0.01, ("steps", 3.0): 0.3}
    patterns = [
        make_pattern(f"{n}", user_key=f"u{n}", trial=make_trial(both if n < 4 else {ARMS[6]: 0.02}))
        for n in range(12)
    ]
    (effect,) = arm_effects(patterns, DEFAULTS)
    assert effect.factor == 2.0
    assert {e.factor for e in arm_effects(patterns, DEFAULTS, min_users=4)} == {2.0, 3.0}


def test_effects_come_best_first_and_without_trials_there_are_none(simulate, make_pattern) -> None:
    effects = arm_effects(simulate(np.random.default_rng(1), 20, {("steps", 3.0): 0.1}), DEFAULTS)
    assert effects[0].factor == 3.0
    assert [e.lower for e in effects] == sorted((e.lower for e in effects), reverse=True)
    assert arm_effects([make_pattern("a")], DEFAULTS) == ()


def effect(parameter="learning_rate", factor=2.0, lower=0.01, probability=0.999) -> ArmEffect:
    return ArmEffect(
        parameter, factor, lower + 0.02, 0.01, lower, lower + 0.04, 50, 20, probability
    )


def test_only_the_arm_with_the_best_lower_bound_is_hinted() -> None:
    """Arms were tried one at a time: what two do together was never seen."""
    hints = choose_hints(
        [
            effect(factor=4.0, lower=0.02),
            effect(factor=2.0),
            effect("steps", 2.4),
            effect("ewc_strength", 3.0),
        ],
        DEFAULTS,
    )
    assert (hints.learning_rate, hints.steps, hints.ewc_strength) == (0.2, None, None)
    assert len(hints.reasons) == 1


def test_an_arm_that_changes_nothing_is_no_hint() -> None:
    assert choose_hints([effect("steps", 1.3), effect("ewc_strength", 5.0)], DEFAULTS) == Hints()
    assert choose_hints([effect(lower=0.0)], DEFAULTS) == Hints()
    assert choose_hints([effect("something new")], DEFAULTS) == Hints()


def test_confidence_is_corrected_for_looking() -> None:
    assert confidence_in(effect(probability=0.999), 1) == pytest.approx(0.999)
    assert confidence_in(effect(probability=0.998), 8) == pytest.approx(1 - 8 * 0.002)
    assert confidence_in(effect(probability=0.5), 8) == 0.0


def test_evidence_is_not_chosen_by_its_outcome() -> None:
    where = PatternFilter(objective="mse", min_reward=0.7, success=True, rank=4)
    assert evidence_filter(where) == PatternFilter(objective="mse", rank=4, has_trial=True)


def test_the_askers_own_trials_are_no_evidence_about_others() -> None:
    assert evidence_filter(PatternFilter(), "ada").exclude_user_key == "ada"
    assert evidence_filter(PatternFilter(exclude_user_key="b"), "ada").exclude_user_key == "b"
    assert evidence_filter(PatternFilter(user_key="ada"), "ada").exclude_user_key is None


def test_trials_around_other_defaults_are_no_evidence(simulate) -> None:
    patterns = simulate(np.random.default_rng(5), 60, {("learning_rate", 2.0): 0.1})
    evidence = [Match(pattern, 0.5) for pattern in patterns]
    trials = Trials.of(patterns)
    same = learn(evidence[:3], trials, DEFAULTS)
    assert same.hints.learning_rate == pytest.approx(2 * DEFAULTS.learning_rate)
    assert same.confidence > 0.95
    other = learn(evidence[:3], trials, replace(DEFAULTS, learning_rate=0.3))
    assert other.hints == Hints()
    assert other.effects == ()
    for strategy in (same, other):
        assert strategy.patterns == tuple(evidence[:3])
