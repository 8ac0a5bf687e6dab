"""The adapter: two small matrices per user, and what online learning needs beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from lorabank.codec import decode, encode
from lorabank.errors import InvalidInputError
from lorabank.kernels import NUMPY, Kernel
from lorabank.types.arrays import AnyFloatArray, FloatArray, as_matrix, check_out
from lorabank.types.checks import (
    check_choice,
    check_count,
    check_number,
    check_positive,
    check_text,
)
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.mixture import ExpertState
from lorabank.types.pattern import ARM_PARAMETERS, OBJECTIVES, Pattern
from lorabank.types.skill import SCALINGS
from lorabank.types.solver import RlsState
from lorabank.types.space import EmbeddingSpace
from lorabank.types.values import changed, made
from lorabank.types.weights import Anchor, Weights

# Stored by their places: new ones go to the end.
Objective: TypeAlias = Literal["mse", "contrastive"]
Scaling: TypeAlias = Literal["lora", "rslora"]
KIND = "adapter"
BASELINES = ("default", "frozen")


@dataclass(frozen=True, slots=True, eq=False)
class TrialArm:
    """A shadow copy of the weights, trained with one hyperparameter changed.

    ``parameter`` is one of `ARM_PARAMETERS`, or "default" or "frozen".
    """

    parameter: str
    factor: float
    weights: Weights

    def __post_init__(self) -> None:
        check_choice(self.parameter, "trial.arm", (*ARM_PARAMETERS, *BASELINES))


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A running trial: all arms go through the same updates, then meet the same next batch."""

    arms: tuple[TrialArm, ...]
    defaults: Hyperparameters
    updates_done: int
    updates_left: int

    def __post_init__(self) -> None:
        check_count(self.updates_done, "trial.updates_done")
        check_count(self.updates_left, "trial.updates_left")
        names = [arm.parameter for arm in self.arms]
        if any(names.count(name) != 1 for name in BASELINES):
            raise InvalidInputError("trial.arms", names, "one default and one frozen arm")


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """One user's adapter: ``y = x + s * B @ (A @ x)``. A value: updates return a new one.

    The scale s is ``alpha / rank`` (Hu et al. 2021, section 4.1), or ``alpha / sqrt(rank)`` with
    ``scaling="rslora"`` (Kalajdzievski 2023).

    Attributes:
        user_id: whose it is.
        weights: A (rank, dim) and B (dim, rank), float32.
        alpha: numerator of the scale.
        scaling: "lora" or "rslora".
        objective: what it is trained for.
        space: the embedding space of its inputs.
        tau, prior_weight: the served logit is ``tau * <y, e> + prior_weight * log_prior``.
        version: number of updates; grows by one with each.
        sample_count: number of observations learned.
        skill_ids: skills that it started from.
        anchor: EWC++ state; None if EWC is switched off.
        pending: the last update's episode, not scored yet.
        trial: a shadow trial in progress.
        rls: what the "rls" solver remembers; None before its first update, and for "sgd".
        experts: which experts of a population predict this user well. What the weights give is
            then the input of none but the user's own chain: see `docs/experts.md`.
        kernel: computes `transform` and updates; not part of `to_bytes`. An engine sets its own.
    """

    user_id: str
    weights: Weights = field(repr=False)
    alpha: float
    scaling: Scaling
    objective: Objective
    space: EmbeddingSpace
    tau: float = 1.0
    prior_weight: float = 0.0
    version: int = 0
    sample_count: int = 0
    skill_ids: tuple[str, ...] = ()
    anchor: Anchor | None = field(default=None, repr=False)
    pending: Pattern | None = field(default=None, repr=False)
    trial: Trial | None = field(default=None, repr=False)
    rls: RlsState | None = field(default=None, repr=False)
    experts: ExpertState | None = field(default=None, repr=False)
    kernel: Kernel = field(default=NUMPY, repr=False, metadata={"stored": False})
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        check_text(self.user_id, "user_id")
        check_choice(self.scaling, "scaling", SCALINGS)
        check_choice(self.objective, "objective", OBJECTIVES)
        check_positive(self.alpha, "alpha")
        check_number(self.tau, "tau", low=0.0)
        check_number(self.prior_weight, "prior_weight", low=-1e6, high=1e6)
        check_count(self.version, "version")
        check_count(self.sample_count, "sample_count")
        if self.weights.dim != self.space.dim:
            raise InvalidInputError("A", self.weights.A.shape, f"dimension {self.space.dim}")
        self._check_companions()
        object.__setattr__(self, "scale", lora_scale(self.alpha, self.rank, self.scaling))

    def _check_companions(self) -> None:
        """Whatever travels with the weights has their shape: bytes may come from anywhere."""
        companions = [] if self.anchor is None else [self.anchor.weights]
        companions += [] if self.trial is None else [arm.weights for arm in self.trial.arms]
        for weights in companions:
            if weights.A.shape != self.weights.A.shape:
                raise InvalidInputError("anchor or trial", weights.A.shape, f"{self.A.shape}")
        if self.rls is not None and self.rls.rank != self.rank:
            raise InvalidInputError("rls", self.rls.rank, f"the rank {self.rank}")
        if self.anchor is not None:
            factors = self.objective == "mse"
            if factors != (len(self.anchor.importance.rows) == 1) and self.dim > 1:
                raise InvalidInputError("anchor", "another objective's importance", self.objective)

    @property
    def A(self) -> FloatArray:
        """float32 (rank, dim), read-only."""
        return self.weights.A

    @property
    def B(self) -> FloatArray:
        """float32 (dim, rank), read-only."""
        return self.weights.B

    @property
    def rank(self) -> int:
        """Rank of the update B @ A."""
        return self.weights.rank

    @property
    def dim(self) -> int:
        """Dimension of inputs and outputs."""
        return self.weights.dim

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays: of weights, anchor, trial, solver and the pending episode."""
        arrays = [self.weights.A, self.weights.B]
        if self.anchor is not None:
            arrays += self.anchor.arrays
        if self.trial is not None:
            arrays += [m for arm in self.trial.arms for m in (arm.weights.A, arm.weights.B)]
        total = sum(array.nbytes for array in arrays)
        if self.pending is not None:
            total += self.pending.context.nbytes
        return total if self.rls is None else total + self.rls.information.nbytes

    def transform(self, X: ArrayLike, out: FloatArray | None = None) -> FloatArray:
        """Personalise embeddings.

        Args:
            X: (dim,) or (n, dim), integers or floats.
            out: float32 array of X's shape that receives the result; it may not overlap X.

        Returns:
            float32 of X's shape: ``out`` if it was given.

        Raises:
            InvalidInputError: wrong dimension, NaN or infinity, numbers too large for float32, or
                an unfit ``out``. Then ``out`` is as it was.
        """
        weights = self.weights
        if type(X) is np.ndarray and (out is None or type(out) is np.ndarray):
            result = np.empty(X.shape, np.float32) if out is None else out
            try:
                if self.kernel.forward(weights.A, weights.B, self.scale, X, result):
                    return result
            except (TypeError, ValueError, BufferError):
                pass  # to be converted, or named
        return self._transform_checked(X, out)

    def _transform_checked(self, X: ArrayLike, out: FloatArray | None) -> FloatArray:
        """`transform` of what a kernel does not take as it is."""
        inputs = np.require(as_matrix(X, "X", self.dim), requirements=["C", "A"])
        shape = np.shape(X)
        if out is None:
            out = np.empty(shape, np.float32)
        else:
            check_out(out, shape, inputs)
        rows = out.reshape(inputs.shape)
        if not self.kernel.forward(self.A, self.B, self.scale, inputs, rows):
            largest = float(np.abs(inputs).max())
            raise InvalidInputError("X", f"numbers up to {largest:g}", "values of moderate size")
        return out

    def to_bytes(self, *, half: bool = False) -> bytes:
        """Every bit of this adapter, episode and trial in progress included.

        With ``half``, A and B are rounded to float16 (relative error 2**-11 above 6e-5), unless a
        number is beyond its range: half the bytes, and weights that are read a little off.
        """
        if not half:
            return encode(self, KIND)
        weights = made(Weights, A=_halved(self.A), B=_halved(self.B))
        return encode(changed(self, weights=weights), KIND)

    @classmethod
    def from_bytes(cls, data: bytes) -> Adapter:
        """Raises CodecError if the bytes are damaged, truncated or of an unknown version."""
        return decode(cls, KIND, data)

    def with_weights(self, A: ArrayLike, B: ArrayLike) -> Adapter:
        """The same adapter with other weights of the same shape."""
        return replace(self, weights=Weights(np.asarray(A), np.asarray(B)), rls=None)


def _halved(matrix: FloatArray) -> AnyFloatArray:
    """In float16, if every number is within its range."""
    with np.errstate(over="ignore"):
        rounded = matrix.astype(np.float16)
    return rounded if np.isfinite(rounded).all() else matrix


def lora_scale(alpha: float, rank: int, scaling: str) -> float:
    """``alpha / rank``, or ``alpha / sqrt(rank)`` for "rslora"."""
    return alpha / (math.sqrt(rank) if scaling == "rslora" else rank)
