"""Hints alone: hyperparameters that the bank's statistics chose, for adapters that start from
zero; against the defaults, and against hints at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lorabank.evaluation.choosing import calibrate
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated
from lorabank.evaluation.methods.personal import Learning, Personal, always, from_zero
from lorabank.evaluation.views import View
from lorabank.numerics.adam import Adam
from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.statistics import arm_effects, choose_hints
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ArmOutcome, Pattern, TrialOutcome

DEFAULTS = Hyperparameters()
ARMS: tuple[tuple[str, float], ...] = (
    ("learning_rate", 0.5),
    ("learning_rate", 2.0),
    ("learning_rate", 4.0),
    ("clip_threshold", 0.5),
    ("clip_threshold", 2.0),
    ("steps", 2.0),
)
# Updates that arms are held for before they are scored.
HELD = 4
TRIAL_USERS = 80
TRIAL_EVENTS = 130


def fit_default(ground: Ground, identity: Calibrated) -> Calibrated:
    """Per-user adapters at the library's default hyperparameters."""
    return _with(ground, identity, always(DEFAULTS))


def fit_hinted(ground: Ground, identity: Calibrated) -> Calibrated:
    """Hyperparameters of arms whose lower bound beats the default's on past users."""
    effects = arm_effects(_trials(ground, identity), DEFAULTS)
    hints = choose_hints(effects, DEFAULTS)
    chosen = Hyperparameters(
        learning_rate=hints.learning_rate or DEFAULTS.learning_rate,
        clip_threshold=hints.clip_threshold or DEFAULTS.clip_threshold,
        steps=hints.steps or DEFAULTS.steps,
    )
    choices = {
        "learning_rate": chosen.learning_rate,
        "clip_threshold": chosen.clip_threshold,
        "steps": float(chosen.steps),
    }
    return replace(_with(ground, identity, always(chosen)), choices=choices)


def fit_random_hints(ground: Ground, identity: Calibrated) -> Calibrated:
    """Each user gets one of the arms, or the default, by chance."""

    def chosen(user: int) -> Hyperparameters:
        rng = np.random.default_rng([ground.seed, 41, user])
        place = int(rng.integers(len(ARMS) + 1))
        return DEFAULTS if place == len(ARMS) else _arm(*ARMS[place])

    return _with(ground, identity, chosen)


def _with(
    ground: Ground, identity: Calibrated, chosen: Callable[[int], Hyperparameters]
) -> Calibrated:
    learning = replace(from_zero(ground, identity, adam=False), hyperparameters=chosen)
    model = Personal(ground.log_prior, learning)
    return Calibrated(model, calibrate(ground, model, identity.calibration))


def _arm(parameter: str, factor: float) -> Hyperparameters:
    value = factor * getattr(DEFAULTS, parameter)
    return replace(DEFAULTS, **{parameter: round(value) if parameter == "steps" else value})


def _trials(ground: Ground, identity: Calibrated) -> list[Pattern]:
    """Shadow trials on fit users: every arm from the same weights, on the same updates, scored on
    the same next batch."""
    view, learning = ground.fit, from_zero(ground, identity, adam=False)
    users = ground.rng(4).permutation(np.unique(view.events.user))[:TRIAL_USERS]
    return [
        Pattern(
            id=f"{number}-{place}",
            namespace="evaluation",
            user_key=str(number),
            task="",
            context=view.events.x[0],
            objective="contrastive",
            rank=len(learning.start.A),
            hyperparameters=DEFAULTS,
            selection="default",
            propensity=1.0,
            samples=learning.batch,
            created_at=0.0,
            trial=trial,
        )
        for number in users.tolist()
        for place, trial in enumerate(_trials_of(view, learning, number))
    ]


def _trials_of(view: View, learning: Learning, number: int) -> Iterator[TrialOutcome]:
    rows = np.flatnonzero(view.events.user == number)[:TRIAL_EVENTS]
    rng = np.random.default_rng([learning.seed, 42, number])
    parts = [rows[k : k + learning.batch] for k in range(0, len(rows), learning.batch)]
    batches = [learning.prepared(view, part, rng) for part in parts]
    m = learning.start
    for begin in range(0, len(batches) - HELD, HELD):
        held, judge = batches[begin : begin + HELD], batches[begin + HELD]
        default = _descend(learning, held, m, DEFAULTS)
        arms = tuple(
            ArmOutcome(name, factor, judge.loss(_descend(learning, held, m, _arm(name, factor))))
            for name, factor in ARMS
        )
        yield TrialOutcome(judge.loss(default), judge.loss(m), judge.identity_loss(), HELD, arms)
        m = default


def _descend(
    learning: Learning, batches: list[Batch], m: Matrices, hyper: Hyperparameters
) -> Matrices:
    for batch in batches:
        m = learning.learned(batch, m, hyper, Adam())
    return m
