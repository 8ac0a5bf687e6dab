"""From a bank's advice to the hyperparameters of an update."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from lorabank.adaptation.step import Decision
from lorabank.config import EngineConfig
from lorabank.engine.inquiry import Advice, KeptAdvice
from lorabank.engine.report import HintUse, KeptHintUse
from lorabank.hints import HintBounds, apply_hints
from lorabank.types.hyperparameters import Hyperparameters, Selection

# An engine whose default switches EWC++ off keeps no anchor to pull towards.
BOUNDS = HintBounds(ewc_without_default=0.0)
# Which parameters were hinted, and why others were not.
_Decided: TypeAlias = tuple[Decision, tuple[str, ...], tuple[str, ...]]


def decide(
    config: EngineConfig, user_key: str, advice: Advice | KeptAdvice
) -> tuple[Decision, HintUse]:
    """Hints that are within bounds, except for the holdout, whose users are never hinted.

    The holdout is chosen by the keyed hash, so a user is in it or not for good. ``propensity`` is
    the probability that a user got this treatment. Advice is given to one user, and kept for some
    updates: it is decided on once.
    """
    if advice.decision is None or advice.use is None:
        advice.decision, applied, refused = _decide(config, user_key, advice)
        advice.use = _use(advice, advice.decision.selection, applied, refused, config.defaults)
    return advice.decision, advice.use


def _use(
    advice: Advice | KeptAdvice,
    selection: Selection,
    applied: tuple[str, ...],
    refused: tuple[str, ...],
    defaults: Hyperparameters,
) -> HintUse:
    if isinstance(advice, Advice):
        similar = advice.patterns or ()
        return HintUse(selection, applied, refused, advice.strategy, similar, defaults)
    flats = advice.flat_strategy, advice.flat_patterns
    return KeptHintUse.of(selection, applied, refused, *flats, defaults)


def _decide(config: EngineConfig, user_key: str, advice: Advice | KeptAdvice) -> _Decided:
    defaults, holdout = config.defaults, config.trials.holdout
    observed = advice.cache != "disconnected"
    if isinstance(advice, Advice) and advice.strategy is None:
        return _shared(defaults, "default", 1.0, observed, (), ())
    if _fraction(user_key) < holdout:
        return _shared(defaults, "holdout", holdout, observed, (), ())
    hyper, applied, refused = apply_hints(advice.hints, defaults, BOUNDS)
    if config.solver == "rls":
        refused += tuple(f"{name}: the solver 'rls' has no such setting" for name in applied)
        hyper, applied = defaults, ()
    if not applied:
        return _shared(hyper, "default", 1.0, observed, applied, refused)
    return _shared(hyper, "hinted", 1.0 - holdout, observed, applied, refused)


@lru_cache(maxsize=256)
def _shared(
    hyperparameters: Hyperparameters,
    selection: Selection,
    propensity: float,
    observed: bool,
    applied: tuple[str, ...],
    refused: tuple[str, ...],
) -> _Decided:
    """One for all users to whom the same is done."""
    return Decision(hyperparameters, selection, propensity, observed), applied, refused


def _fraction(user_key: str) -> float:
    """A number in [0, 1) that is fixed for a user; ``user_key`` is hexadecimal."""
    return int(user_key[:8], 16) / 2**32
