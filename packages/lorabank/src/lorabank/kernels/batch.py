"""A batch for ``mse`` whose arithmetic is a kernel's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from lorabank.kernels.protocol import Kernel
from lorabank.kernels.reference import NUMPY
from lorabank.numerics.lora import Matrices
from lorabank.numerics.mse import MseBatch, usable_energy
from lorabank.types.arrays import AnyFloatArray, FloatArray


@dataclass(slots=True, eq=False)
class KernelBatch(MseBatch):
    """An `MseBatch` in float32: X, T (n, dim) and weights (n,) or None, C-contiguous.

    Attributes:
        kernel: computes.
        sums: the energy and the identity's error, computed once.
    """

    kernel: Kernel = NUMPY
    sums: tuple[float, float] = field(init=False)
    _energy: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        X, T, weights = self._arrays()
        self.sums = self.kernel.mse_sums(X, T, weights)

    def energy(self) -> float:
        """See `MseBatch.energy`."""
        if self._energy is None:  # asked for at each step
            self._energy = usable_energy(self.sums[0], self.weights)
        return self._energy

    def identity_loss(self) -> float:
        """See `MseBatch.identity_loss`."""
        return self.sums[1] / self.energy()

    def loss(self, m: Matrices) -> float:
        """See `MseBatch.loss`."""
        return self._errors(m)[0] / self.energy()

    def plain_loss(self, m: Matrices) -> float:
        """See `MseBatch.plain_loss`."""
        return self._errors(m)[1] / self.X.size

    def gradient(self, m: Matrices) -> tuple[float, AnyFloatArray, AnyFloatArray]:
        """See `MseBatch.gradient`."""
        A, B = _float32(m)
        dA, dB = np.empty_like(A), np.empty_like(B)
        energy = self.energy()
        error, _ = self.kernel.mse_gradient(A, B, m.scale, *self._arrays(), energy, dA, dB)
        return error / energy, dA, dB

    def step(
        self, m: Matrices, learning_rate: float, clip_threshold: float
    ) -> tuple[float, float, Matrices]:
        """One clipped step of gradient descent.

        Returns (loss before it, norm before clipping, the matrices after it). If one of the
        numbers is not finite, the matrices hold nothing of use.
        """
        A, B = _float32(m)
        new = Matrices(np.empty_like(A), np.empty_like(B), m.scale)
        energy, rates = self.energy(), (learning_rate, clip_threshold)
        error, norm = self.kernel.mse_update(
            A, B, m.scale, *self._arrays(), energy, *rates, *_float32(new)
        )
        return error / energy, norm, new

    def part(self, start: int, stop: int) -> KernelBatch:
        """See `MseBatch.part`."""
        weights = None if self.weights is None else self.weights[start:stop]
        return replace(self, X=self.X[start:stop], T=self.T[start:stop], weights=weights)

    def _errors(self, m: Matrices) -> tuple[float, float]:
        A, B = _float32(m)
        return self.kernel.mse_loss(A, B, m.scale, *self._arrays())

    def _arrays(self) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        return cast(
            "tuple[FloatArray, FloatArray, FloatArray | None]", (self.X, self.T, self.weights)
        )


def _float32(m: Matrices) -> tuple[FloatArray, FloatArray]:
    return cast("tuple[FloatArray, FloatArray]", (m.A, m.B))
