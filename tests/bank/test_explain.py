"""The explanation of an update's hints: numbers with their evidence, on lines that fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lorabank.engine.report import HintUse
from lorabank.hints import COLUMNS, render_strategy
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.strategy import ArmEffect, Estimate, Strategy, TrialSummary

DEFAULTS = Hyperparameters(learning_rate=0.1)
EFFECT = ArmEffect(
    "learning_rate", 2.0, 0.08, 0.01, 0.02, 0.13, 60, 30, 0.999,
    effective_users=27.4, fold_lower=0.01, confirmed=Estimate(0.07, 0.01, 0.12, 9),
)  # fmt: skip
# A quadrupled rate has a better bound, but is worse on the fold that chooses.
OTHER = replace(EFFECT, factor=4.0, mean=0.09, lower=0.03, fold_lower=-0.02, users=31)
SUMMARY = TrialSummary(60, 30, tuple(f"01J{n:023d}" for n in range(4)), default_gain=0.21)
STRATEGY = Strategy(
    hints=Hints(learning_rate=0.2, confidence=0.99),
    effects=(OTHER, EFFECT),
    confidence=0.99,
    summary=SUMMARY,
)
HINTED = HintUse(
    "hinted",
    ("learning_rate",),
    ("steps: got 99, expected a whole number in [1, 5]",),
    replace(STRATEGY, recommendation=render_strategy(STRATEGY)),
    defaults=DEFAULTS,
)


def test_a_hint_is_explained_with_episodes_n_eff_interval_and_the_default() -> None:
    said = HINTED.explain().splitlines()
    for line in (
        "selection: hinted",
        "refused: steps: got 99, expected a whole number in [1, 5]",
        "learning rate: 0.2, default 0.1",
        "  effect: 8.0 % [2.0, 13.0] less next-batch loss, of the reference",
        "  from: 60 trials, 30 users, n_eff 27.4",
        "  on users who came after the choice: 7.0 % [1.0, 12.0], 9 users",
        "  the default would take 21.0 % off the next batch's loss,",
        "  with the hint 29.0 %",
        "episodes: 60 trials of 30 users around these defaults",
    ):
        assert line in said
    assert all(pattern_id in HINTED.explain() for pattern_id in SUMMARY.nearest)


def test_the_hinted_arm_is_told_of_not_the_one_with_the_best_bound() -> None:
    assert "31 users" not in render_strategy(STRATEGY)
    assert "0.2 (8.0 %" in render_strategy(STRATEGY)


@pytest.mark.parametrize(
    "use",
    [
        HINTED,
        HintUse("default"),
        HintUse("holdout", strategy=STRATEGY, defaults=DEFAULTS),
        HintUse("default", refused=("x" * 300,), strategy=Strategy(recommendation="word " * 90)),
    ],
)
def test_no_line_is_too_long(use: HintUse) -> None:
    lines = use.explain().splitlines()
    assert lines[0] == f"selection: {use.selection}"
    assert max(map(len, lines)) <= COLUMNS == 80


def test_without_a_hint_it_says_what_the_defaults_do() -> None:
    use = HintUse("default", strategy=replace(STRATEGY, hints=Hints()), defaults=DEFAULTS)
    assert "the defaults take 21.0 % off the next batch's loss" in use.explain()
