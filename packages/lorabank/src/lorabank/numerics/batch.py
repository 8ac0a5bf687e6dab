"""What every objective gives: a loss, its gradient, and its per-sample importance."""

from __future__ import annotations

from typing import Protocol

from lorabank.numerics.lora import Matrices
from lorabank.types.arrays import AnyFloatArray


class Batch(Protocol):
    """A batch made ready for one objective: targets, weights and negatives are settled.

    All candidates that are compared on a batch (identity, the adapter, shadow arms) see the same
    batch, so their losses differ by the candidates alone.
    """

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def loss(self, m: Matrices) -> float:
        """Loss of the whole batch."""
        ...

    def identity_loss(self) -> float:
        """Loss of ``y = x``, calibrated for itself."""
        ...

    def gradient(self, m: Matrices) -> tuple[float, AnyFloatArray, AnyFloatArray]:
        """(loss, dA, dB) at ``m``."""
        ...

    def importance(self, m: Matrices, decay: float) -> tuple[AnyFloatArray, AnyFloatArray]:
        """Decayed sums over the batch of per-sample importance at ``m``, newest weighing most.

        Sample i of n has weight ``(1 - decay) * decay**(n - 1 - i)``. See `Importance` for the
        meaning of the two arrays.
        """
        ...

    def part(self, start: int, stop: int) -> Batch:
        """The samples start..stop-1, in order, with the same negatives."""
        ...
