"""Whether trained weights are better than their parent, on users that they have not seen."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices
from lorabank.population.tasks import Task
from lorabank.statistics.scores import user_means
from lorabank.statistics.student import student_quantile
from lorabank.types.arrays import AnyFloatArray, IntArray
from lorabank.types.skill import Evidence


@dataclass(frozen=True, slots=True)
class Candidate:
    """Weights (None: the identity) with the calibration that they are served with."""

    matrices: Matrices | None
    calibration: Calibration


def mean_loss(task: Task, candidate: Candidate, positions: IntArray) -> float:
    """Mean over users of their mean losses."""
    losses = task.losses(candidate.matrices, candidate.calibration, positions)
    return float(user_means(losses, task.rows.user[positions]).mean())


def prove(
    task: Task, child: Candidate, parent: Candidate, positions: IntArray, confidence: float
) -> Evidence:
    """Relative decrease of the loss against the parent's, paired by user.

    Interval by Student's t over users; at least two users are needed.
    """
    ours = task.losses(child.matrices, child.calibration, positions)
    theirs = task.losses(parent.matrices, parent.calibration, positions)
    return paired_evidence(ours, theirs, task.rows.user[positions], confidence)


def paired_evidence(
    ours: AnyFloatArray, theirs: AnyFloatArray, user: IntArray, confidence: float
) -> Evidence:
    """Relative decrease from ``theirs`` to ``ours``, losses of the same rows (n,) of the users."""
    gains = user_means(theirs - ours, user)
    scale = float(user_means(theirs, user).mean()) or 1.0
    users = len(gains)
    mean = float(gains.mean())
    error = float(gains.std(ddof=1)) / users**0.5
    reach = error * student_quantile(0.5 + confidence / 2, users - 1)
    return Evidence(mean / scale, (mean - reach) / scale, (mean + reach) / scale, users, len(user))
