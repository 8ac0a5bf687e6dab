"""Phase 0: what the previous update was worth, on a batch that it has not seen."""

from __future__ import annotations

from lorabank.adapter import Trial
from lorabank.config import SuccessConfig
from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.types.pattern import ArmOutcome, Outcome, TrialOutcome

EPS = 1e-12


def outcome_of(loss: float, reference_loss: float, policy: SuccessConfig) -> Outcome:
    """Gain ``(ref - loss) / max(ref, eps)``, and reward and success by the policy.

    "gain": reward ``clip(.5 + gain / (2 gain_scale), 0, 1)``, success ``gain > 0``.
    "loss" (the seed's): reward ``clip(1 - loss, 0, 1)``, success ``loss < loss_threshold``.
    """
    gain = (reference_loss - loss) / max(reference_loss, EPS)
    if policy.policy == "gain":
        reward, success = 0.5 + gain / (2 * policy.gain_scale), gain > 0
    else:
        reward, success = 1.0 - loss, loss < policy.loss_threshold
    return Outcome(loss, reference_loss, gain, min(max(reward, 0.0), 1.0), success)


def trial_outcome(trial: Trial, batch: Batch, scale: float, reference_loss: float) -> TrialOutcome:
    """Every arm's loss on the same batch; of arms that went the same way computed once."""
    known: dict[int, float] = {}
    for arm in trial.arms:
        A, B = arm.weights.A, arm.weights.B
        if id(A) not in known:
            known[id(A)] = batch.loss(Matrices(A, B, scale))
    losses = [known[id(arm.weights.A)] for arm in trial.arms]
    by_name = {arm.parameter: loss for arm, loss in zip(trial.arms, losses, strict=True)}
    return TrialOutcome(
        default_loss=by_name["default"],
        frozen_loss=by_name["frozen"],
        reference_loss=reference_loss,
        updates=trial.updates_done,
        arms=tuple(
            ArmOutcome(arm.parameter, arm.factor, loss)
            for arm, loss in zip(trial.arms, losses, strict=True)
            if arm.parameter not in ("default", "frozen")
        ),
        defaults=trial.defaults,
    )


def critique_of(outcome: Outcome, samples: int) -> str:
    """One sentence for people."""
    verdict = "helped" if outcome.gain > 0 else "hurt"
    return (
        f"{verdict}: loss {outcome.loss:.4g} against {outcome.reference_loss:.4g} of the identity "
        f"on the next {samples} observations ({outcome.gain:+.1%})"
    )
