"""Softmax of the target's logit ``tau * <y, e> + prior_weight * prior`` against negatives.

The training logit is the served logit. Negatives drawn from q get the correction
``-log(N q_j)`` of sampled softmax (Bengio & Senecal 2008; Jean et al. 2015, section 3.1) and
accidental hits of the target are dropped; the target itself gets no correction.

A row with a low reward says "not this one": its loss is the unlikelihood ``-log(1 - p_target)``
(Welleck et al. 2020, equation 4), so the item is an explicit negative for that context.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from lorabank.numerics.lora import Matrices, backward, forward
from lorabank.numerics.weighting import decayed_weights
from lorabank.turns import give_way
from lorabank.types.arrays import AnyFloatArray, BoolArray


@dataclass(frozen=True, slots=True)
class Calibration:
    """The two numbers of the served logit.

    Attributes:
        tau: inverse temperature, >= 0.
        prior_weight: weight of the items' log popularity.
    """

    tau: float = 1.0
    prior_weight: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Negatives:
    """Vectors that a target competes with.

    Attributes:
        vectors: (m, dim).
        prior: log popularity, (m,).
        correction: log(m q_j) for drawn negatives, zero for supplied ones, (m,); or what else is
            subtracted from a logit, (n, m). Infinite where a vector is no competitor.
        hits: True where a negative is the row's own target, (n, m).
    """

    vectors: AnyFloatArray
    prior: AnyFloatArray
    correction: AnyFloatArray
    hits: BoolArray

    def of_rows(self, rows: slice) -> Negatives:
        """The same vectors for some of the rows."""
        each = self.correction.ndim == 2
        correction = self.correction[rows] if each else self.correction
        return replace(self, hits=self.hits[rows], correction=correction)


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """A batch's way forward through the weights A and B.

    Attributes:
        hidden: (n, rank).
        target, others: logits of the targets (n,) and of what they compete with (n, m).
        rest: log of the sum of the others' exponentials, (n,).
    """

    A: AnyFloatArray
    B: AnyFloatArray
    scale: float
    hidden: AnyFloatArray
    target: AnyFloatArray
    others: AnyFloatArray
    rest: AnyFloatArray

    def is_through(self, m: Matrices) -> bool:
        """Whether it went through these very arrays."""
        return self.A is m.A and self.B is m.B and self.scale == m.scale


@dataclass(frozen=True, slots=True, eq=False)
class ContrastiveBatch:
    """X (n, dim), targets T (n, dim) with their prior (n,), negatives, and row weights (n,).

    Attributes:
        liked: (n,) True for a positive pair, False for an explicit negative.
        weights: (n,) weight of each row in the mean.
        calibration: of the adapter's logit.
        reference: of the identity's logit.
        identity_losses: (n,) of the rows, where X is not what the identity would be given.
    """

    X: AnyFloatArray
    T: AnyFloatArray
    target_prior: AnyFloatArray
    negatives: Negatives
    liked: BoolArray
    weights: AnyFloatArray
    calibration: Calibration
    reference: Calibration
    identity_losses: AnyFloatArray | None = None
    # The last one through weights that nobody can write into, if any.
    _passes: list[_Pass] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.X)

    def loss(self, m: Matrices) -> float:
        """Weighted mean of the rows' losses."""
        return self._mean(self.row_losses(m))

    def row_losses(self, m: Matrices) -> AnyFloatArray:
        """Loss of each row by itself, (n,)."""
        at = self._forward(m)
        return row_losses(at.target, at.rest, self.liked)

    def identity_loss(self) -> float:
        """The same for ``y = x`` under the reference calibration."""
        return self._mean(self.identity_row_losses())

    def identity_row_losses(self) -> AnyFloatArray:
        """Loss of each row under the identity, (n,)."""
        if self.identity_losses is not None:
            return self.identity_losses
        target, others = self._logits(self.X, self.reference)
        return row_losses(target, log_sum_exp(others), self.liked)

    def gradient(self, m: Matrices) -> tuple[float, AnyFloatArray, AnyFloatArray]:
        """(loss, dA, dB) at ``m``."""
        at = self._forward(m)
        G = self._row_gradients(at)
        G *= (self.weights / len(self))[:, None]
        give_way()
        loss = self._mean(row_losses(at.target, at.rest, self.liked))
        return loss, *backward(m, self.X, at.hidden, G)

    def importance(self, m: Matrices, decay: float) -> tuple[AnyFloatArray, AnyFloatArray]:
        """Sums of per-sample squared gradients: for B (dim, rank), then for A (rank, dim).

        s^2 (G*G)^T (H*H) and s^2 ((G B)*(G B))^T (X*X): never the square of a batch mean.
        """
        at = self._forward(m)
        G, H = self._row_gradients(at), at.hidden
        G *= (m.scale * self.weights)[:, None]
        weight = decayed_weights(len(self), decay, self.X.dtype)[:, None]
        GB = G @ m.B
        return (weight * G * G).T @ (H * H), (weight * GB * GB).T @ (self.X * self.X)

    def part(self, start: int, stop: int) -> ContrastiveBatch:
        """The samples start..stop-1 with the same negatives."""
        rows = slice(start, stop)
        return replace(
            self,
            X=self.X[rows],
            T=self.T[rows],
            target_prior=self.target_prior[rows],
            negatives=self.negatives.of_rows(rows),
            liked=self.liked[rows],
            weights=self.weights[rows],
            identity_losses=None if self.identity_losses is None else self.identity_losses[rows],
        )

    def _mean(self, rows: AnyFloatArray) -> float:
        return float(rows @ self.weights) / len(self)

    def _forward(self, m: Matrices) -> _Pass:
        """A mixture asks for the losses at an adapter's weights, and then learning for the gradient
        there: the way forward is gone once."""
        for known in self._passes:
            if known.is_through(m):
                return known
        Y, H = forward(m, self.X)
        give_way()
        target, others = self._logits(Y, self.calibration)
        found = _Pass(m.A, m.B, m.scale, H, target, others, log_sum_exp(others))
        give_way()
        if not (m.A.flags.writeable or m.B.flags.writeable):
            self._passes[:] = [found]
        return found

    def _logits(
        self, Y: AnyFloatArray, calibration: Calibration
    ) -> tuple[AnyFloatArray, AnyFloatArray]:
        """Logits of the targets (n,) and of the negatives (n, m)."""
        negatives = self.negatives
        target = calibration.tau * np.einsum("ij,ij->i", Y, self.T)
        target += calibration.prior_weight * self.target_prior
        others = Y @ negatives.vectors.T
        give_way()
        others *= calibration.tau
        others += calibration.prior_weight * negatives.prior - negatives.correction
        others[negatives.hits] = -np.inf
        give_way()
        return target, others

    def _row_gradients(self, at: _Pass) -> AnyFloatArray:
        """dL_i/dy_i, (n, dim), of each row by itself.

        With p the target's probability and q_j = exp(o_j) / sum exp(o) the negatives' own softmax:
        liked rows have dL/dz_t = p - 1 and dL/dz_j = (1 - p) q_j; disliked rows dL/dz_t = p and
        dL/dz_j = -p q_j. Both are ``c * (e_target - sum q_j e_j)`` with c = p - 1 or p.
        """
        total = np.logaddexp(at.target, at.rest)
        p = np.exp(at.target - total)
        c = np.where(self.liked, -np.exp(at.rest - total), p)
        peak = np.where(np.isneginf(at.rest), 0, at.rest)
        give_way()
        G = self.T - np.exp(at.others - peak[:, None]) @ self.negatives.vectors
        G *= (self.calibration.tau * c)[:, None]
        return G


def row_losses(target: AnyFloatArray, rest: AnyFloatArray, liked: BoolArray) -> AnyFloatArray:
    """-log p, or -log(1 - p) where not liked; as softplus, so that tiny ones don't cancel to zero.

    Args:
        target: logits of the targets, (..., n).
        rest: `log_sum_exp` of the logits that they compete with, (..., n).
        liked: (n,).
    """
    margin = target - rest
    losses: AnyFloatArray = np.logaddexp(0, np.where(liked, -margin, margin))
    return losses


def log_sum_exp(logits: AnyFloatArray) -> AnyFloatArray:
    """Log of the sum of exponentials along the last axis, (..., m) -> (...), without overflow."""
    peak = logits.max(axis=-1)
    give_way()
    peak[np.isneginf(peak)] = 0.0  # a row of -inf alone sums to zero
    with np.errstate(divide="ignore"):
        result: AnyFloatArray = peak + np.log(np.exp(logits - peak[..., None]).sum(axis=-1))
    return result
