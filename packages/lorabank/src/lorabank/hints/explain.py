"""Why an update ran with what it ran with, as text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from lorabank.hints.render import NAMES, percent
from lorabank.statistics import arm_value
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.strategy import ArmEffect, Strategy, TrialSummary

COLUMNS = 80


def explain_strategy(
    strategy: Strategy, defaults: Hyperparameters, applied: tuple[str, ...]
) -> Iterator[str]:
    """What was applied with its evidence, what the defaults do, which episodes say so; the advice.

    Args:
        strategy: a bank's answer.
        defaults: what would have been used without it.
        applied: the parameters that were hinted.
    """
    for parameter in applied:
        default = getattr(defaults, parameter)
        yield f"{NAMES[parameter]}: {getattr(strategy.hints, parameter)!r}, default {default!r}"
        effect = _behind(strategy, parameter, defaults)
        if effect is not None:
            yield from _evidence(effect)
            yield from _comparison(effect, strategy.summary)
    if strategy.summary.trials:
        yield from _episodes(strategy.summary)
        if not applied:
            gain = _share(strategy.summary.default_gain)
            yield f"the defaults take {gain} off the next batch's loss"
    yield "the bank says:"
    yield from strategy.recommendation.splitlines()


def fitted(lines: Iterator[str]) -> str:
    """The lines, each broken where it would be longer than `COLUMNS`."""
    parts = [textwrap.wrap(line, COLUMNS, subsequent_indent="    ") for line in lines]
    return "\n".join(line for part in parts for line in part)


def _behind(strategy: Strategy, parameter: str, defaults: Hyperparameters) -> ArmEffect | None:
    hinted = getattr(strategy.hints, parameter)
    arms = [effect for effect in strategy.effects if effect.parameter == parameter]
    return next((effect for effect in arms if arm_value(effect, defaults) == hinted), None)


def _evidence(effect: ArmEffect) -> Iterator[str]:
    yield f"  effect: {percent(effect)} less next-batch loss, of the reference"
    yield "  (the interval holds for all arms together, however often it is looked at)"
    n_eff = f", n_eff {effect.effective_users:.1f}" if effect.effective_users else ""
    yield f"  from: {effect.trials} trials, {effect.users} users{n_eff}"
    fresh = effect.confirmed
    if fresh is None:
        yield "  on users who came after the choice: none yet"
    else:
        yield f"  on users who came after the choice: {percent(fresh)}, {fresh.users} users"


def _comparison(effect: ArmEffect, summary: TrialSummary) -> Iterator[str]:
    if summary.trials:
        gain = summary.default_gain
        yield f"  the default would take {_share(gain)} off the next batch's loss,"
        yield f"  with the hint {_share(gain + effect.mean)}"


def _episodes(summary: TrialSummary) -> Iterator[str]:
    yield f"episodes: {summary.trials} trials of {summary.users} users around these defaults"
    yield f"nearest: {', '.join(summary.nearest)}"


def _share(gain: float) -> str:
    return f"{100 * gain:.1f} %"
