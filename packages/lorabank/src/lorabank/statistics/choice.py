"""From effects to hints: what to act on, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.pattern import ARM_PARAMETERS
from lorabank.types.strategy import ArmEffect


def choose_hints(effects: Sequence[ArmEffect], defaults: Hyperparameters) -> Hints:
    """Of each parameter the arm with the best lower bound, if that bound is above zero.

    Args:
        effects: as from `arm_effects`.
        defaults: the hint's value is the arm's factor times the default (``steps``: rounded).
            Arms that leave the default as it is are passed over.
    """
    chosen: dict[str, tuple[float, ArmEffect]] = {}
    for effect in sorted(effects, key=lambda e: -e.lower):
        value = arm_value(effect, defaults)
        if effect.lower > 0 and value is not None and effect.parameter not in chosen:
            chosen[effect.parameter] = value, effect
    if not chosen:
        return Hints()
    hinted = [effect for _, effect in chosen.values()]
    steps = chosen.get("steps")
    return Hints(
        learning_rate=_value(chosen, "learning_rate"),
        clip_threshold=_value(chosen, "clip_threshold"),
        ewc_strength=_value(chosen, "ewc_strength"),
        steps=None if steps is None else int(steps[0]),
        confidence=confidence_in(hinted, looked_at=len(effects)),
        reasons=tuple(_reason(effect) for effect in hinted),
    )


def confidence_in(hinted: Sequence[ArmEffect], looked_at: int) -> float:
    """Lower bound of the probability that every hinted choice helps, in [0, 1].

    ``1 - looked_at * sum(1 - p)``: the union bound over the hinted arms, corrected for having
    picked them out of ``looked_at`` arms. 0 without hints.
    """
    if not hinted:
        return 0.0
    return max(0.0, 1.0 - looked_at * sum(1.0 - effect.probability for effect in hinted))


def arm_value(effect: ArmEffect, defaults: Hyperparameters) -> float | None:
    """The value that an arm stands for; None if that is the default, or no arm known here."""
    if effect.parameter not in ARM_PARAMETERS:
        return None
    default = float(getattr(defaults, effect.parameter))
    value = effect.factor * default
    if effect.parameter == "steps":
        value = float(max(1, round(value)))
    return None if value == default else value


def _value(chosen: dict[str, tuple[float, ArmEffect]], parameter: str) -> float | None:
    found = chosen.get(parameter)
    return None if found is None else found[0]


def _reason(effect: ArmEffect) -> str:
    return (
        f"{effect.parameter}: x{effect.factor:g} lowers the next batch's loss by "
        f"{100 * effect.mean:.2g} % [{100 * effect.lower:.2g}, {100 * effect.upper:.2g}] "
        f"of the reference, {effect.users} users"
    )
