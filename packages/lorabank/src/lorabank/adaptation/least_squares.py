"""The update step of the "rls" solver: the ridge solution on B, without a learning rate."""

from __future__ import annotations

import math

import numpy as np

from lorabank.adaptation.learning import Descent
from lorabank.adaptation.preparation import work_of
from lorabank.adapter import Adapter
from lorabank.config import RlsConfig
from lorabank.errors import InvalidInputError
from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.numerics.mse import MseBatch
from lorabank.numerics.rls import ridge_of, rls_step
from lorabank.types.solver import RlsState

# About 20 microseconds.
_PER_SAMPLE = 50_000


def solve(
    adapter: Adapter, batch: Batch, here: Matrices, config: RlsConfig
) -> tuple[Descent, RlsState]:
    """The weights after the batch, and what is remembered of it.

    An adapter without a state starts one, with its own B as what the ridge pulls to. Nothing is
    clipped; the norm is that of the batch's gradient by B.

    Raises:
        InvalidInputError: the batch is not of the "mse" objective, or its values are too large.
    """
    if not isinstance(batch, MseBatch):
        raise InvalidInputError("solver", "rls", f"'sgd' for the objective {adapter.objective!r}")
    loss = batch.loss(here)
    ridge = ridge_of(here.A, here.scale, config.ridge)
    with np.errstate(over="ignore", invalid="ignore"):
        hidden, residual = _scaled(batch, here)
        state = adapter.rls
        information = ridge * np.eye(adapter.rank) if state is None else state.information
        slope = (residual - hidden @ here.B.astype(np.float64).T).T @ hidden
        B, information = rls_step(
            here.B, information, hidden, residual, forgetting=config.forgetting, ridge=ridge
        )
        rounded = B.astype(np.float32)
    if not (math.isfinite(loss) and np.isfinite(rounded).all() and np.isfinite(information).all()):
        raise InvalidInputError("feedback", "a solution that overflows", "values of moderate size")
    norm = 2.0 / len(batch) * float(np.linalg.norm(slope))
    return Descent(here.with_matrices(here.A, rounded), loss, norm, False), RlsState(information)


def work_of_solving(batch: Batch, rank: int, config: RlsConfig) -> int:
    """Rough work of `solve`, in the multiply-adds of `work_of`.

    In float64, and with forgetting one small matrix is solved with per sample.
    """
    work = 6 * work_of(batch, rank, passes=1)
    if config.forgetting < 1.0:
        work += len(batch) * (_PER_SAMPLE + rank**3)
    return work


def _scaled(batch: MseBatch, m: Matrices) -> tuple[np.ndarray, np.ndarray]:
    """Hidden vectors (n, rank) and residuals (n, dim) in float64, relative to each input's length.

    A row whose input is zero says nothing about B.
    """
    X = batch.X.astype(np.float64)
    energy = np.einsum("ij,ij->i", X, X)
    weights = np.ones(len(X)) if batch.weights is None else batch.weights.astype(np.float64)
    factor = np.sqrt(np.where(energy > 0, weights / np.where(energy > 0, energy, 1.0), 0.0))
    hidden = m.scale * (X @ m.A.astype(np.float64).T)
    return hidden * factor[:, None], (batch.T - X) * factor[:, None]
