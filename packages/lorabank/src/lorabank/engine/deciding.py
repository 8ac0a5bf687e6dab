"""From a bank's advice to the hyperparameters of an update."""

from __future__ import annotations

from lorabank.adaptation.step import Decision
from lorabank.config import EngineConfig
from lorabank.engine.inquiry import Advice
from lorabank.engine.report import HintUse
from lorabank.hints import HintBounds, apply_hints
from lorabank.types.hyperparameters import Selection

# An engine whose default switches EWC++ off keeps no anchor to pull towards.
BOUNDS = HintBounds(ewc_without_default=0.0)


def decide(config: EngineConfig, user_key: str, advice: Advice) -> tuple[Decision, HintUse]:
    """Hints that are within bounds, except for the holdout, whose users are never hinted.

    The holdout is chosen by the keyed hash, so a user is in it or not for good. ``propensity`` is
    the probability that a user got this treatment. Advice is given to one user, and kept for some
    updates: it is decided on once.
    """
    if advice.decided is None:
        advice.decided = _decide(config, user_key, advice)
    return advice.decided


def _decide(config: EngineConfig, user_key: str, advice: Advice) -> tuple[Decision, HintUse]:
    similar, observed = advice.patterns or (), advice.cache != "disconnected"
    defaults, strategy = config.defaults, advice.strategy
    if strategy is None:
        use = HintUse("default", similar=similar, defaults=defaults)
        return Decision(defaults, observed=observed), use
    holdout = config.trials.holdout
    if _fraction(user_key) < holdout:
        use = HintUse("holdout", strategy=strategy, similar=similar, defaults=defaults)
        return Decision(defaults, "holdout", holdout, observed), use
    hyper, applied, refused = apply_hints(strategy.hints, defaults, BOUNDS)
    if config.solver == "rls":
        refused += tuple(f"{name}: the solver 'rls' has no such setting" for name in applied)
        hyper, applied = defaults, ()
    selection: Selection = "hinted" if applied else "default"
    propensity = 1.0 - holdout if applied else 1.0
    use = HintUse(selection, applied, refused, strategy, similar, defaults)
    return Decision(hyper, selection, propensity, observed), use


def _fraction(user_key: str) -> float:
    """A number in [0, 1) that is fixed for a user; ``user_key`` is hexadecimal."""
    return int(user_key[:8], 16) / 2**32
