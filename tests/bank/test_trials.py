"""Trials as columns say what the patterns say."""

from __future__ import annotations

import zlib
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from lorabank.statistics import EFFECT_LIMIT, GAIN_LIMIT, arm_effects, confidence_sequence
from lorabank.strategy import learn
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.trials import Trials, TrialWriter

DEFAULTS = Hyperparameters(learning_rate=0.05)
ARMS = [("learning_rate", 2.0), ("learning_rate", 0.5), ("steps", 2.0)]
HALF_LIFE = 1e12


@pytest.fixture
def patterns(make_pattern, make_trial):
    """Trials with none to three arms, some around other settings, some of one moment."""
    rng = np.random.default_rng(7)
    found = []
    for n in rng.permutation(300).tolist():
        arms = [ARMS[i] for i in rng.permutation(3)[: rng.integers(0, 4)]]
        trial = make_trial({arm: 0.06 * (arm == ARMS[0]) + 0.03 * rng.normal() for arm in arms})
        if n % 7 == 0:
            trial = replace(trial, defaults=replace(DEFAULTS, steps=2))
        given = {"user_key": f"u{rng.integers(120)}", "created_at": float(n // 3)}
        found.append(make_pattern(f"p{n:03}", trial=trial if n % 11 else None, **given))
    return found


def directly(patterns, arm):
    """(mean over users, bounds, trials) of an arm, one pattern after the other."""
    mine, first = {}, {}
    for pattern in sorted(patterns, key=lambda p: (p.created_at, p.id)):
        trial = pattern.trial
        if trial is None or trial.defaults != DEFAULTS:
            continue
        for one in trial.arms:
            if (one.parameter, one.factor) == arm:
                effect = (trial.default_loss - one.loss) / trial.reference_loss
                effect = min(max(effect, -EFFECT_LIMIT), EFFECT_LIMIT)
                mine.setdefault(pattern.user_key, []).append(effect)
                first.setdefault(pattern.user_key, effect)
    bounds = confidence_sequence(list(first.values()), 0.025 / len(ARMS), EFFECT_LIMIT)
    return fmean(map(fmean, mine.values())), bounds, sum(map(len, mine.values()))


def test_effects_are_what_the_direct_computation_finds(patterns) -> None:
    effects = arm_effects(patterns, DEFAULTS, half_life=HALF_LIFE)
    assert {(e.parameter, e.factor) for e in effects} == set(ARMS)
    for effect in effects:
        mean, bounds, trials = directly(patterns, (effect.parameter, effect.factor))
        assert effect.mean == pytest.approx(mean, abs=1e-9)
        assert (effect.lower, effect.upper) == (bounds.lower, bounds.upper)
        assert effect.trials == trials
    assert effects[0].lower > 0


def test_the_summary_is_what_the_direct_computation_finds(patterns) -> None:
    summary = learn((), Trials.of(patterns), DEFAULTS).summary
    same = [p for p in patterns if p.trial is not None and p.trial.defaults == DEFAULTS]
    gains = {}
    for p in same:
        gain = (p.trial.frozen_loss - p.trial.default_loss) / p.trial.reference_loss
        gains.setdefault(p.user_key, []).append(min(max(gain, -GAIN_LIMIT), GAIN_LIMIT))
    assert (summary.trials, summary.users) == (len(same), len(gains))
    assert summary.nearest == tuple(p.id for p in same[:4])
    assert summary.default_gain == pytest.approx(fmean(map(fmean, gains.values())))


def told(trials):
    """Each trial as plain values, whatever the numbers of settings and arms."""
    stops = np.cumsum(trials.facts["arms"]).tolist()
    arms = [
        [(*trials.choices[trials.arm[i]], trials.loss[i]) for i in range(start, stop)]
        for start, stop in zip([0, *stops], stops, strict=False)
    ]
    rows = zip(trials.ids, trials.facts.tolist(), arms, strict=True)
    return [(i, fact[:6], trials.settings[fact[6]], arms) for i, fact, arms in rows]


def expected(patterns):
    return [
        (
            p.id,
            (
                hash(p.user_key),
                zlib.crc32(p.user_key.encode()) & 1,
                p.created_at,
                p.trial.default_loss,
                p.trial.frozen_loss,
                p.trial.reference_loss,
            ),
            p.trial.defaults,
            [(arm.parameter, arm.factor, arm.loss) for arm in p.trial.arms],
        )
        for p in patterns
        if p.trial is not None
    ]


def test_columns_hold_everything_in_any_order(patterns) -> None:
    trials = Trials.of(patterns)
    assert told(trials) == expected(patterns)
    tried = [p for p in patterns if p.trial is not None]
    rows = np.random.default_rng(1).permutation(len(tried))[:50]
    assert told(trials.take(rows)) == expected([tried[row] for row in rows])
    in_time = sorted(tried, key=lambda p: (p.created_at, p.id))
    assert told(trials.take(trials.by_time())) == expected(in_time)
    around = [p for p in tried if p.trial.defaults == DEFAULTS]
    assert told(trials.around(DEFAULTS)) == expected(around)
    assert not len(trials.around(Hyperparameters(steps=9)))
    assert not len(Trials.of(()).by_time())


def test_a_writer_keeps_its_numbers(patterns) -> None:
    writer = TrialWriter()
    parts = [writer.write(patterns[start : start + 50]) for start in range(0, 300, 50)]
    assert told(parts[3]) == expected(patterns[150:200])
    assert all(part.choices is writer.choices for part in parts)
    assert sorted(writer.choices) == sorted(ARMS)
