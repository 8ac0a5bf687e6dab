"""Relative squared error: ``L = sum(w |y - t|^2) / sum(w |x|^2)``.

Free of the embedding's scale, so that one learning rate serves every encoder, and the identity
has a natural loss to compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.numerics.lora import Matrices, backward, forward
from lorabank.numerics.weighting import decayed_weights
from lorabank.types.arrays import AnyFloatArray


@dataclass(slots=True, eq=False)
class MseBatch:
    """X (n, dim), T (n, dim), and weights (n,) in [0, 1] or None for ones."""

    X: AnyFloatArray
    T: AnyFloatArray
    weights: AnyFloatArray | None = None

    def __len__(self) -> int:
        return len(self.X)

    def energy(self) -> float:
        """sum(w |x|^2), which the loss is relative to. A part of a batch may have none.

        Raises:
            InvalidInputError: it is zero or not finite, so the batch has no loss.
        """
        return usable_energy(self._weighted_sum(self.X), self.weights)

    def _weighted_sum(self, V: AnyFloatArray) -> float:
        if self.weights is None:
            return float(np.vdot(V, V))
        return float(self.weights @ np.einsum("ij,ij->i", V, V))

    def loss(self, m: Matrices) -> float:
        """Relative squared error at ``m``."""
        Y, _ = forward(m, self.X)
        return self._weighted_sum(Y - self.T) / self.energy()

    def identity_loss(self) -> float:
        """Relative squared error of ``y = x``."""
        return self._weighted_sum(self.X - self.T) / self.energy()

    def plain_loss(self, m: Matrices) -> float:
        """The ordinary mean squared error over all components, unweighted."""
        Y, _ = forward(m, self.X)
        return float(np.mean((Y - self.T) ** 2))

    def gradient(self, m: Matrices) -> tuple[float, AnyFloatArray, AnyFloatArray]:
        """(loss, dA, dB): dB = (2 s / sum w|x|^2) (wE)^T H, dA = (2 s / sum w|x|^2) (wE B)^T X."""
        Y, H = forward(m, self.X)
        E = Y
        E -= self.T
        energy = self.energy()
        loss = self._weighted_sum(E) / energy
        if self.weights is not None:
            E *= self.weights[:, None]
        E *= 2.0 / energy
        return loss, *backward(m, self.X, H, E)

    def importance(self, m: Matrices, decay: float) -> tuple[AnyFloatArray, AnyFloatArray]:
        """The factors of the Gauss-Newton diagonal of the per-sample loss ``w |e|^2 / |x|^2``.

        Returns (1, rank): decayed sum of w h_k^2 / |x|^2, and (1, dim): that of w x_j^2 / |x|^2,
        with h = A x. Zero inputs, like zero weights, carry no information and count as zero.
        """
        squared = np.einsum("ij,ij->i", self.X, self.X)
        inverse = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > 0)
        weight = decayed_weights(len(self), decay, self.X.dtype) * inverse
        if self.weights is not None:
            weight = weight * self.weights
        H = self.X @ m.A.T
        return weight[None] @ (H * H), weight[None] @ (self.X * self.X)

    def part(self, start: int, stop: int) -> MseBatch:
        """The samples start..stop-1."""
        weights = None if self.weights is None else self.weights[start:stop]
        return replace(self, X=self.X[start:stop], T=self.T[start:stop], weights=weights)


def usable_energy(energy: float, weights: AnyFloatArray | None) -> float:
    """A batch's sum(w |x|^2), if a loss can be relative to it.

    Raises:
        InvalidInputError: it is zero or not finite.
    """
    if math.isfinite(energy) and energy > 0:
        return energy
    if weights is not None and not weights.any():
        raise InvalidInputError("feedback.reward", "all zeros", "a row with some weight")
    raise InvalidInputError(
        "feedback.x", f"sum of weighted squares {energy}", "finite inputs that are not zero"
    )
