"""Applying hints: each value within bounds or refused with a reason, never clamped in silence.

Hints may come from a remote bank, so their fields may hold anything at all.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, replace

from lorabank.types.checks import check_number, check_positive
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.pattern import ARM_PARAMETERS

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class HintBounds:
    """How far a hint may go.

    Attributes:
        lowest_factor, highest_factor: times the default, for the learning rate and the clip
            threshold; the highest also for the EWC strength, which may go down to 0.
        ewc_without_default: the highest EWC strength if the default is 0.
        most_steps: the highest number of steps.
    """

    lowest_factor: float = 0.1
    highest_factor: float = 10.0
    ewc_without_default: float = 1.0
    most_steps: int = 5

    def __post_init__(self) -> None:
        check_positive(self.lowest_factor, "lowest_factor")
        check_number(self.highest_factor, "highest_factor", low=self.lowest_factor)
        check_number(self.ewc_without_default, "ewc_without_default", low=0.0)
        check_number(self.most_steps, "most_steps", low=1)

    def interval(self, parameter: str, defaults: Hyperparameters) -> tuple[float, float]:
        """Lowest and highest value that a hint for ``parameter`` may have."""
        if parameter == "steps":
            return 1.0, float(self.most_steps)
        default = float(getattr(defaults, parameter))
        high = default * self.highest_factor
        if parameter == "ewc_strength":
            return 0.0, high if default > 0 else self.ewc_without_default
        return default * self.lowest_factor, high


DEFAULT_BOUNDS = HintBounds()


def apply_hints(
    hints: object, defaults: Hyperparameters, bounds: HintBounds = DEFAULT_BOUNDS
) -> tuple[Hyperparameters, tuple[str, ...], tuple[str, ...]]:
    """The defaults with all acceptable hints put in. Never raises, whatever ``hints`` holds.

    Args:
        hints: a `Hints`; anything else is refused as a whole. ``None`` counts as no hints.
        defaults: used where there is no acceptable hint.
        bounds: how far a hint may go.

    Returns:
        the hyperparameters; the names of the parameters that were hinted; for each refused hint
        a sentence that names its value and the bounds.
    """
    if hints is None:
        return defaults, (), ()
    if not isinstance(hints, Hints):
        return defaults, (), (f"hints: got {_shown(hints)}, expected Hints",)
    accepted: dict[str, float] = {}
    refused: list[str] = []
    for parameter in ARM_PARAMETERS:
        given = getattr(hints, parameter)
        if given is None:
            continue
        low, high = bounds.interval(parameter, defaults)
        value = _number(given, whole=parameter == "steps")
        if value is not None and low <= value <= high and _usable(parameter, value):
            accepted[parameter] = int(value) if parameter == "steps" else value
        else:
            kind = "a whole number" if parameter == "steps" else "a number"
            refused.append(
                f"{parameter}: got {_shown(given)}, expected {kind} in [{low:g}, {high:g}]"
            )
    if not accepted:
        return defaults, (), tuple(refused)
    return replace(defaults, **accepted), tuple(accepted), tuple(refused)  # type: ignore[arg-type]


def _number(given: object, *, whole: bool) -> float | None:
    """``given`` as a finite float, or None if it is no such number."""
    if isinstance(given, bool) or not isinstance(given, numbers.Real):
        return None
    try:
        value = float(given)
    except (ArithmeticError, TypeError, ValueError):  # an int beyond float, a signalling NaN
        return None
    if not math.isfinite(value) or (whole and not value.is_integer()):
        return None
    return value


def _usable(parameter: str, value: float) -> bool:
    return value > 0 or parameter == "ewc_strength"


def _shown(given: object) -> str:
    """A short text for a message; the ``repr`` of something foreign is not trusted to return."""
    if type(given) is str:
        return repr(given[:_SHOWN])
    if type(given) is float or (type(given) is int and abs(given) < 10**_SHOWN):
        return repr(given)
    return f"a {type(given).__name__}"
