"""One update, pure: (adapter, batch, decision) -> (adapter, report numbers, finished episode)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lorabank.adaptation.anchoring import first_anchor, gather, watch_for_drift
from lorabank.adaptation.learning import Descent, Pull, descend
from lorabank.adaptation.least_squares import solve
from lorabank.adaptation.mixing import Mixing, MixtureReport, carried, mix
from lorabank.adaptation.preparation import prepare_contrastive, prepare_mse
from lorabank.adaptation.scoring import critique_of, outcome_of, trial_outcome
from lorabank.adaptation.trials import Shadows, continue_trial
from lorabank.adapter import Adapter
from lorabank.config import EngineConfig
from lorabank.errors import InvalidInputError
from lorabank.kernels import KernelBatch
from lorabank.numerics.batch import Batch
from lorabank.numerics.contrastive import Calibration, ContrastiveBatch
from lorabank.numerics.lora import Matrices
from lorabank.numerics.mse import MseBatch
from lorabank.types.chance import Chance
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters, Selection
from lorabank.types.items import ItemPool
from lorabank.types.mixture import ExpertState
from lorabank.types.pattern import Outcome, Pattern
from lorabank.types.values import changed
from lorabank.types.weights import Anchor, Weights


@dataclass(frozen=True, slots=True)
class Decision:
    """What an update runs with, and how that was chosen (with which probability).

    ``observed`` says whether an episode will be stored: shadow trials only run if so.
    """

    hyperparameters: Hyperparameters
    selection: Selection = "default"
    propensity: float = 1.0
    observed: bool = False


@dataclass(slots=True)
class StepResult:
    """A new adapter, the numbers of the update, and the episode that the batch has finished.

    Attributes:
        adapter: without a pending episode of its own (the engine adds it).
        loss_before, loss_after: on the batch just learned.
        identity_loss: of the calibrated identity on it.
        gradient_norm: before clipping, at the last step.
        clipped: whether it was clipped.
        drift: whether a drift was seen before the update.
        anchor_moved: whether the EWC++ anchor moved.
        in_trial: whether shadow arms ran beside it.
        finished: the previous update's episode with its outcome, if there was one.
        seconds_gradients, seconds_apply: time of the phases 2 and 3.
        plain_mse: the ordinary mean squared error before learning; None for "contrastive".
        mixture: how the experts did, None where they were not compared.
    """

    adapter: Adapter
    loss_before: float
    loss_after: float
    identity_loss: float
    gradient_norm: float
    clipped: bool
    drift: bool
    anchor_moved: bool
    in_trial: bool
    finished: Pattern | None
    seconds_gradients: float
    seconds_apply: float
    plain_mse: float | None = None
    mixture: MixtureReport | None = None


def prepare(
    adapter: Adapter,
    feedback: Feedback,
    config: EngineConfig,
    pool: ItemPool | None,
    rng: Chance,
) -> Batch:
    """Feedback made ready for the adapter's objective.

    Raises:
        InvalidInputError: names the field, the value and what was expected.
    """
    check_dim(adapter, feedback)
    if adapter.objective == "mse":
        return prepare_mse(feedback, pool, adapter.kernel)
    calibration = Calibration(adapter.tau, adapter.prior_weight)
    return prepare_contrastive(feedback, pool, config.contrastive, calibration, rng)


def check_dim(adapter: Adapter, feedback: Feedback) -> None:
    """The feedback has the adapter's dimension. Raises InvalidInputError otherwise."""
    if feedback.dim != adapter.dim:
        raise InvalidInputError("feedback.x", feedback.x.shape, f"vectors of dim {adapter.dim}")


def adapt(
    adapter: Adapter,
    batch: Batch,
    decision: Decision,
    config: EngineConfig,
    rng: Chance,
    timer: Callable[[], float],
    mixing: Mixing | None = None,
) -> StepResult:
    """Score what came before, learn from the batch, and move the anchor if its time has come.

    Raises:
        InvalidInputError: the gradient is not finite.
    """
    started = timer()
    here = Matrices(adapter.A, adapter.B, adapter.scale)
    experts, mixture = _mix(adapter, batch, here, mixing, config)
    arriving = None if mixture is None else mixture.losses[-1]
    identity_loss = batch.identity_loss()
    rls = None
    if config.solver == "rls":
        anchor, drift, pull = None, False, None
        descent, rls = solve(adapter, batch, here, config.rls)
    else:
        anchor, drift, pull, descent = _learn(
            adapter, batch, here, decision, config, identity_loss, arriving
        )
    learned = timer()
    finished = _finish(adapter, batch, descent.loss_before, identity_loss, config)
    trial = None
    if decision.observed and config.solver == "sgd":
        shadows = Shadows(batch, pull)
        shadows.served(here, decision.hyperparameters, descent)
        trial = continue_trial(adapter, shadows, config.defaults, config.trials, rng)
    loss_after = batch.loss(descent.matrices)
    weights = _checked(descent.matrices, batch, loss_after)
    moved = False
    if anchor is not None:
        anchor, moved = gather(anchor, batch, weights, adapter.scale, config.ewc)
    updated = changed(
        adapter,
        weights=weights,
        version=adapter.version + 1,
        sample_count=adapter.sample_count + len(batch),
        anchor=anchor,
        pending=None,
        trial=trial,
        rls=rls,
        experts=experts,
    )
    return StepResult(
        adapter=updated,
        loss_before=descent.loss_before,
        loss_after=loss_after,
        identity_loss=identity_loss,
        gradient_norm=descent.norm,
        clipped=descent.clipped,
        drift=drift,
        anchor_moved=moved or drift,
        in_trial=trial is not None,
        finished=finished,
        seconds_gradients=learned - started,
        seconds_apply=timer() - learned,
        plain_mse=_plain_mse(batch, here, descent.loss_before),
        mixture=mixture,
    )


def _mix(
    adapter: Adapter,
    batch: Batch,
    here: Matrices,
    mixing: Mixing | None,
    config: EngineConfig,
) -> tuple[ExpertState | None, MixtureReport | None]:
    if mixing is None or not isinstance(batch, ContrastiveBatch):
        return adapter.experts, None
    if mixing.losses is None:
        return carried(adapter, mixing), None
    return mix(adapter, mixing, batch.row_losses(here), batch.weights, config.mixture)


def _learn(
    adapter: Adapter,
    batch: Batch,
    here: Matrices,
    decision: Decision,
    config: EngineConfig,
    identity_loss: float,
    arriving: float | None,
) -> tuple[Anchor | None, bool, Pull | None, Descent]:
    """The drift test needs the loss that arrives, and the descent needs the anchor after it."""
    if config.defaults.ewc_strength == 0:
        return None, False, None, descend(batch, here, decision.hyperparameters, None)
    anchor = adapter.anchor or first_anchor(adapter.weights, adapter.objective)
    excess = (batch.loss(here) if arriving is None else arriving) - identity_loss
    anchor, drift = watch_for_drift(anchor, excess, len(batch), adapter.weights, config.ewc)
    pull = Pull.of(anchor, adapter.scale, adapter.objective)
    return anchor, drift, pull, descend(batch, here, decision.hyperparameters, pull)


def _checked(m: Matrices, batch: Batch, loss: float) -> Weights:
    """Weights that are finite. If the loss at them is, they are: every number is a factor in it.

    Raises:
        InvalidInputError: one is not.
    """
    if isinstance(batch, KernelBatch) and math.isfinite(loss):
        return Weights.taking_sound(m.A, m.B)
    return Weights.taking(m.A, m.B)


def _plain_mse(batch: Batch, here: Matrices, loss: float) -> float | None:
    """Without weights it is ``loss``, related to the number of components instead of the energy."""
    if not isinstance(batch, MseBatch):
        return None
    if batch.weights is None:
        return loss * batch.energy() / batch.X.size
    return batch.plain_loss(here)


def _finish(
    adapter: Adapter, batch: Batch, loss: float, identity_loss: float, config: EngineConfig
) -> Pattern | None:
    """The pending episode with its outcome, and with the trial that ends here."""
    pending = adapter.pending
    if pending is None:
        return None
    outcome: Outcome = outcome_of(loss, identity_loss, config.success)
    trial = adapter.trial
    ended = None
    if trial is not None and trial.updates_left == 0:
        ended = trial_outcome(trial, batch, adapter.scale, identity_loss)
    critique = critique_of(outcome, len(batch))
    return changed(pending, outcome=outcome, trial=ended, critique=critique)
