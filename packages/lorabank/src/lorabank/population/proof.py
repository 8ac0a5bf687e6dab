"""Whether trained weights are better than their parent, on users that they have not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices
from lorabank.population.tasks import Task
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
    return float(_user_means(task, losses, positions).mean())


def prove(
    task: Task, child: Candidate, parent: Candidate, positions: IntArray, confidence: float
) -> Evidence:
    """Relative decrease of the loss against the parent's, paired by user.

    Interval by Student's t over users; at least two users are needed.
    """
    ours = task.losses(child.matrices, child.calibration, positions)
    theirs = task.losses(parent.matrices, parent.calibration, positions)
    gains = _user_means(task, theirs - ours, positions)
    scale = float(_user_means(task, theirs, positions).mean()) or 1.0
    users = len(gains)
    mean = float(gains.mean())
    error = float(gains.std(ddof=1)) / users**0.5
    reach = error * student_quantile(0.5 + confidence / 2, users - 1)
    return Evidence(
        mean / scale, (mean - reach) / scale, (mean + reach) / scale, users, len(positions)
    )


def _user_means(task: Task, losses: AnyFloatArray, positions: IntArray) -> AnyFloatArray:
    _, inverse = np.unique(task.rows.user[positions], return_inverse=True)
    means: AnyFloatArray = np.bincount(inverse, losses) / np.bincount(inverse)
    return means
