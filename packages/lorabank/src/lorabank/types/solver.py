"""What recursive least squares remembers of a user beside the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import as_array, frozen


@dataclass(frozen=True, slots=True, eq=False)
class RlsState:
    """The information matrix of recursive least squares.

    Attributes:
        information: float64 (rank, rank), symmetric and positive definite: the ridge and the
            weighted sum of ``h h^T`` over the samples, h the hidden vector times the scale. Its
            inverse is the covariance of each row of B, up to the noise's variance.
    """

    information: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = as_array(self.information, "rls.information")
        if matrix.dtype != np.float64 or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InvalidInputError("rls.information", matrix.shape, "a square float64 matrix")
        if not np.isfinite(matrix).all() or not (np.diagonal(matrix) > 0).all():
            raise InvalidInputError("rls.information", "an unfit matrix", "a positive definite one")
        object.__setattr__(self, "information", frozen(matrix))

    @property
    def rank(self) -> int:
        """Number of rows and columns."""
        return int(self.information.shape[0])
