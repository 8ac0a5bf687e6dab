"""From effects to hints: what to act on, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.pattern import ARM_PARAMETERS
from lorabank.types.strategy import ArmEffect


def choose_hints(effects: Sequence[ArmEffect], defaults: Hyperparameters) -> Hints:
    """The best of the arms whose lower bound is above zero: by the lower bound of one fold.

    Only one: every arm was tried with all else at its default, so what two of them do together
    was never seen. (A doubled rate and doubled steps may each help, and ruin an adapter together.)

    Args:
        effects: as from `arm_effects`.
        defaults: the hint's value is the arm's factor times the default (``steps``: rounded).
            Arms that leave the default as it is are passed over.
    """
    for effect in sorted(effects, key=_rank):
        value = arm_value(effect, defaults)
        if effect.lower > 0 and value is not None:
            hints = Hints(
                confidence=confidence_in(effect, looked_at=len(effects)),
                reasons=(_reason(effect),),
            )
            chosen = int(value) if effect.parameter == "steps" else value
            return replace(hints, **{effect.parameter: chosen})  # type: ignore[arg-type]
    return Hints()


def _rank(effect: ArmEffect) -> float:
    return -(effect.lower if effect.fold_lower is None else effect.fold_lower)


def confidence_in(effect: ArmEffect, looked_at: int) -> float:
    """Lower bound of the probability that the choice helps, in [0, 1].

    ``1 - looked_at * (1 - p)``: corrected for having picked it out of ``looked_at`` arms.
    """
    return max(0.0, 1.0 - looked_at * (1.0 - effect.probability))


def arm_value(effect: ArmEffect, defaults: Hyperparameters) -> float | None:
    """The value that an arm stands for; None if that is the default, or no arm known here."""
    if effect.parameter not in ARM_PARAMETERS:
        return None
    default = float(getattr(defaults, effect.parameter))
    value = effect.factor * default
    if effect.parameter == "steps":
        value = float(max(1, round(value)))
    return None if value == default else value


def _reason(effect: ArmEffect) -> str:
    return (
        f"{effect.parameter}: x{effect.factor:g} lowers the next batch's loss by "
        f"{100 * effect.mean:.2g} % [{100 * effect.lower:.2g}, {100 * effect.upper:.2g}] "
        f"of the reference, {effect.users} users"
    )
