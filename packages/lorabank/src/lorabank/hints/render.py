"""A strategy as text: one line per parameter, from the numbers. `parse_hints` reads it back."""

from __future__ import annotations

from collections.abc import Sequence

from lorabank.types.pattern import ARM_PARAMETERS
from lorabank.types.strategy import ArmEffect, Strategy

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
    return max(arms, key=lambda effect: effect.lower, default=None)


def _gain(effect: ArmEffect, value: float) -> str:
    default = value / effect.factor if effect.factor > 0 else 0.0
    return f"{_percent(effect)} less next-batch loss than {default:.3g}, {effect.users} users"


def _tried(effect: ArmEffect) -> str:
    change = f"{_percent(effect)} less next-batch loss, {effect.users} users"
    return f"best tried, x{effect.factor:g}: {change}"


def _percent(effect: ArmEffect) -> str:
    """The decrease as a share of the reference loss, with its interval."""
    mean, lower, upper = (100 * part for part in (effect.mean, effect.lower, effect.upper))
    return f"{mean:.1f} % [{lower:.1f}, {upper:.1f}]"


def _hinted(strategy: Strategy) -> bool:
    return any(getattr(strategy.hints, name) is not None for name in ARM_PARAMETERS)
