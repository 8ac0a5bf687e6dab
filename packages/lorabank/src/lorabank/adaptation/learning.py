"""Phases 2 and 3: gradients with the EWC++ pull, joint clipping, and the descent itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.kernels import KernelBatch
from lorabank.numerics.batch import Batch
from lorabank.numerics.clipping import clip_jointly
from lorabank.numerics.ewc import diagonal, penalty_gradient
from lorabank.numerics.lora import Matrices
from lorabank.types.arrays import AnyFloatArray
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.weights import Anchor


@dataclass(slots=True)
class Descent:
    """The weights after the steps, and what happened on the way.

    ``loss_before`` is at the weights that the batch arrived at; ``norm`` is the gradient's before
    clipping at the last step.
    """

    matrices: Matrices
    loss_before: float
    norm: float
    clipped: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pull:
    """The EWC++ penalty, with its diagonal computed once per batch."""

    anchor: Matrices
    diagonal: tuple[AnyFloatArray, AnyFloatArray]

    @classmethod
    def of(cls, anchor: Anchor | None, scale: float, objective: str) -> Pull | None:
        """None without an anchor, or before it has moved with some importance."""
        if anchor is None or anchor.held is None or anchor.held.mass == 0:
            return None
        at = Matrices(anchor.weights.A, anchor.weights.B, scale)
        return cls(at, diagonal(anchor.held, at, objective))


def descend(batch: Batch, start: Matrices, hyper: Hyperparameters, pull: Pull | None) -> Descent:
    """``hyper.steps`` times: gradient, pull, joint clip, ``W -= learning_rate * gradient``.

    Under a pull the step is divided by ``1 + learning_rate * strength * F``: linearly implicit in
    the penalty (Rosenbrock 1963), so that no strength can overshoot the anchor and oscillate.

    Raises:
        InvalidInputError: the gradient is not finite (values too large for float32).
    """
    if isinstance(batch, KernelBatch) and (pull is None or hyper.ewc_strength == 0):
        return _descend_freely(batch, start, hyper)
    m, first_loss, norm = start, math.nan, 0.0
    for step in range(hyper.steps):
        with np.errstate(over="ignore", invalid="ignore"):
            loss, dA, dB = batch.gradient(m)
            if pull is not None and hyper.ewc_strength > 0:
                pull_A, pull_B = penalty_gradient(m, pull.anchor, pull.diagonal, hyper.ewc_strength)
                dA += pull_A
                dB += pull_B
            norm = clip_jointly(dA, dB, hyper.clip_threshold)
        _check_finite(loss, norm)
        first_loss = loss if step == 0 else first_loss
        if pull is not None and hyper.ewc_strength > 0:
            stiffness = hyper.learning_rate * hyper.ewc_strength
            dA /= 1.0 + stiffness * pull.diagonal[0]
            dB /= 1.0 + stiffness * pull.diagonal[1]
        dA *= -hyper.learning_rate
        dB *= -hyper.learning_rate
        dA += m.A
        dB += m.B
        m = m.with_matrices(dA, dB)
    return Descent(m, first_loss, norm, norm > hyper.clip_threshold)


def _descend_freely(batch: KernelBatch, start: Matrices, hyper: Hyperparameters) -> Descent:
    """`descend` without a pull: each step is one call of the kernel."""
    m, first_loss, norm = start, math.nan, 0.0
    for step in range(hyper.steps):
        loss, norm, m = batch.step(m, hyper.learning_rate, hyper.clip_threshold)
        _check_finite(loss, norm)
        first_loss = loss if step == 0 else first_loss
    return Descent(m, first_loss, norm, norm > hyper.clip_threshold)


def _check_finite(loss: float, norm: float) -> None:
    if not (math.isfinite(norm) and math.isfinite(loss)):
        raise InvalidInputError("feedback", f"gradient norm {norm}", "values of moderate size")
