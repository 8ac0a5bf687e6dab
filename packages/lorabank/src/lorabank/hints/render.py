"""A strategy as text: one line per parameter, from the numbers. `parse_hints` reads it back."""

from __future__ import annotations

from collections.abc import Sequence

from lorabank.types.pattern import ARM_PARAMETERS
from lorabank.types.strategy import ArmEffect, Estimate, Strategy

NAMES = {
    "learning_rate": "learning rate",
    "clip_threshold": "clip threshold",
    "ewc_strength": "EWC strength",
    "steps": "gradient steps",
}
NO_EVIDENCE = "No evidence yet that anything beats the defaults: keep them."


def render_strategy(strategy: Strategy) -> str:
    """Readable recommendation: hinted values with their evidence, then what was not adopted.

    >>> render_strategy(Strategy())
    'No evidence yet that anything beats the defaults: keep them.'
    """
    lines = [_line(name, strategy) for name in ARM_PARAMETERS]
    said = [line for line in lines if line]
    if not _hinted(strategy):
        said.insert(0, NO_EVIDENCE)
    else:
        said.append(f"confidence: {strategy.hints.confidence!r}")
    return "\n".join(said)


def _line(parameter: str, strategy: Strategy) -> str:
    value = getattr(strategy.hints, parameter)
    best = _best(parameter, strategy.effects)
    if value is None:
        return "" if best is None else f"{NAMES[parameter]}: keep the default; {_tried(best)}"
    evidence = "" if best is None or best.lower <= 0 else f" ({_gain(best, value)})"
    return f"{NAMES[parameter]}: {value!r}{evidence}"


def _best(parameter: str, effects: Sequence[ArmEffect]) -> ArmEffect | None:
    arms = [effect for effect in effects if effect.parameter == parameter]
    return max(arms, key=_rank, default=None)


def _rank(effect: ArmEffect) -> tuple[bool, float]:
    """As hints are chosen: of those that beat the default, the best on the choosing fold."""
    chosen_by = effect.lower if effect.fold_lower is None else effect.fold_lower
    return effect.lower > 0, chosen_by if effect.lower > 0 else effect.lower


def _gain(effect: ArmEffect, value: float) -> str:
    default = value / effect.factor if effect.factor > 0 else 0.0
    return f"{percent(effect)} less next-batch loss than {default:.3g}, {effect.users} users"


def _tried(effect: ArmEffect) -> str:
    change = f"{percent(effect)} less next-batch loss, {effect.users} users"
    # It may help by itself: only the best arm is hinted, as arms were not tried together.
    return f"best tried{' alone' if effect.lower > 0 else ''}, x{effect.factor:g}: {change}"


def percent(effect: ArmEffect | Estimate) -> str:
    """The decrease as a share of the reference loss, with its interval."""
    mean, lower, upper = (100 * part for part in (effect.mean, effect.lower, effect.upper))
    return f"{mean:.1f} % [{lower:.1f}, {upper:.1f}]"


def _hinted(strategy: Strategy) -> bool:
    return any(getattr(strategy.hints, name) is not None for name in ARM_PARAMETERS)
