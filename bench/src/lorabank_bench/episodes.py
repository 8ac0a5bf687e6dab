"""Banks full of made-up episodes."""

from __future__ import annotations

from lorabank import Hyperparameters, Outcome, Pattern
from lorabank.protocols import ReasoningBank
from lorabank.types.arrays import FloatArray
from lorabank.types.pattern import ArmOutcome, TrialOutcome

BLOCK = 1_000
# People behind a bank's episodes, at most.
USERS = 5_000
# One in so many episodes ends a trial.
TRIALS = 20


def episode(number: int, context: FloatArray) -> Pattern:
    """Like an engine's."""
    return Pattern(
        id=f"{number:032x}",
        namespace="default",
        user_key=f"{number % USERS:032x}",
        task="adapt",
        context=context,
        objective="mse",
        rank=8,
        hyperparameters=Hyperparameters(),
        selection="default",
        propensity=1.0,
        samples=10,
        created_at=1.7e9 + number,
        outcome=Outcome(0.4, 0.5, 0.2, 0.6, success=True),
        trial=_trial(number) if number % TRIALS == 0 else None,
    )


def _trial(number: int) -> TrialOutcome:
    noise = (number * 7919 % 1000 - 500) / 5e4
    arms = tuple(ArmOutcome("learning_rate", factor, 0.4 + noise) for factor in (0.5, 2.0))
    return TrialOutcome(0.4, 0.45, 0.5, 4, arms)


async def filled(bank: ReasoningBank, contexts: FloatArray, first: int = 0) -> None:
    """One episode for each row, numbered from ``first``, stored in blocks."""
    for start in range(0, len(contexts), BLOCK):
        rows = contexts[start : start + BLOCK]
        await bank.store_patterns([episode(first + start + i, row) for i, row in enumerate(rows)])
