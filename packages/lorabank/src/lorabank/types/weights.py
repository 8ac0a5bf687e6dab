"""Trainable matrices, and what EWC++ remembers of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import AnyFloatArray, FloatArray, as_matrix, check_finite, frozen
from lorabank.types.checks import check_count, check_number
from lorabank.types.values import made


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The trainable matrices: A float32 (rank, dim), B float32 (dim, rank). Read-only."""

    A: FloatArray
    B: FloatArray

    def __post_init__(self) -> None:
        A = as_matrix(self.A, "A")
        B = as_matrix(self.B, "B", A.shape[0])
        if B.shape != A.shape[::-1]:
            raise InvalidInputError("B", B.shape, f"shape {A.shape[::-1]}, the transpose of A's")
        object.__setattr__(self, "A", frozen(A))
        object.__setattr__(self, "B", frozen(B))

    @classmethod
    def taking(cls, A: AnyFloatArray, B: AnyFloatArray) -> Weights:
        """Weights over a pair of matrices of fitting shapes that nobody else writes to: no copy.

        Raises:
            InvalidInputError: a number is not finite.
        """
        if not (A.dtype == B.dtype == np.float32 and A.flags.c_contiguous and B.flags.c_contiguous):
            return cls(A, B)
        check_finite(A, "A")
        check_finite(B, "B")
        return cls.taking_sound(A, B)

    @classmethod
    def taking_sound(cls, A: AnyFloatArray, B: AnyFloatArray) -> Weights:
        """`taking` of C-contiguous float32 matrices that are known to be finite."""
        A.setflags(write=False)
        B.setflags(write=False)
        return made(cls, A=A, B=B)

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return int(self.A.shape[0])

    @property
    def dim(self) -> int:
        """Number of columns of A."""
        return int(self.A.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """Running importance of the weights at the anchor, for the EWC++ penalty.

    For ``mse`` the Gauss-Newton diagonal factorises: ``rows`` is E[h_k^2 / |x|^2], float32
    (1, rank), and ``columns`` E[x_j^2 / |x|^2], float32 (1, dim). For ``contrastive`` it does
    not: ``rows`` is the importance of B, (dim, rank), ``columns`` that of A, (rank, dim).

    Attributes:
        mass: sum of the averaging weights so far, in [0, 1]; divides out the start-up bias.
    """

    rows: FloatArray
    columns: FloatArray
    mass: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", frozen(as_matrix(self.rows, "importance.rows")))
        object.__setattr__(self, "columns", frozen(as_matrix(self.columns, "importance.columns")))
        check_number(self.mass, "importance.mass", low=0.0, high=1.0 + 1e-6)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Those of ``rows`` and ``columns``."""
        return self.rows.shape, self.columns.shape


@dataclass(frozen=True, slots=True)
class DriftState:
    """State of the Page-Hinkley test.

    Attributes:
        count: values since the start or the last drift.
        mean, variance: running, the variance per sample.
        cumulative, minimum: of the standardised deviations.
    """

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    cumulative: float = 0.0
    minimum: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """What EWC++ holds on to.

    Attributes:
        weights: theta*, the weights at the last move.
        importance: running, gathered at theta* with every sample; not in the penalty yet.
        held: the running importance as it was at the last move, which the penalty weighs with:
            what came before theta* is protected, what comes after it is free to be learned. None
            until the first move: at the start there is nothing to protect.
        samples: seen since the last move.
        drift: state of the test for drifts.
    """

    weights: Weights
    importance: Importance
    held: Importance | None = None
    samples: int = 0
    drift: DriftState = DriftState()

    @property
    def arrays(self) -> list[FloatArray]:
        """All of them."""
        found = [self.weights.A, self.weights.B, self.importance.rows, self.importance.columns]
        return found if self.held is None else [*found, self.held.rows, self.held.columns]

    def __post_init__(self) -> None:
        check_count(self.samples, "anchor.samples")
        rank, dim = self.weights.rank, self.weights.dim
        shapes = self.importance.shapes
        fits = shapes in (((1, rank), (1, dim)), ((dim, rank), (rank, dim)))
        if not fits or (self.held is not None and self.held.shapes != shapes):
            raise InvalidInputError("anchor.importance", shapes, "the shapes of its weights")
