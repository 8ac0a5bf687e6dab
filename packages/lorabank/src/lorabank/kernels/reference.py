"""The reference kernel: plain numpy, always there."""

from __future__ import annotations

import math

import numpy as np

from lorabank.kernels.arithmetic import (
    forward_gathered,
    gather,
    matrices,
    residuals,
    slopes,
    squares,
    step,
)
from lorabank.kernels.checks import (
    check_batch,
    check_exactly,
    check_forward,
    check_matrices,
    check_output,
    check_rows,
    check_slots,
    check_stretches,
)
from lorabank.kernels.protocol import Slabs
from lorabank.types.arrays import Float64Array, FloatArray, IntArray

# Bytes of blocks that `forward_many` gathers at a time.
GATHERED = 1 << 20


class NumpyKernel:
    """See `lorabank.kernels.Kernel`. Has no state."""

    @property
    def name(self) -> str:
        """ "numpy"."""
        return "numpy"

    def forward(
        self, A: FloatArray, B: FloatArray, scale: float, X: FloatArray, out: FloatArray
    ) -> bool:
        """See `Kernel.forward`."""
        check_forward(A, B, X, out)
        with np.errstate(all="ignore"):
            H = X @ A.T
            # A finite sum of squares has finite terms.
            if not (math.isfinite(np.vdot(H, H)) or np.isfinite(H).all()):
                return False
            H *= float(scale)
            np.matmul(H, B.T, out=out)
            out += X
        return True

    def mse_sums(
        self, X: FloatArray, T: FloatArray, weights: FloatArray | None
    ) -> tuple[float, float]:
        """See `Kernel.mse_sums`."""
        check_batch(X, T, weights, X.shape[-1])
        with np.errstate(all="ignore"):
            return squares(X, weights), squares(X - T, weights)

    def mse_loss(
        self,
        A: FloatArray,
        B: FloatArray,
        scale: float,
        X: FloatArray,
        T: FloatArray,
        weights: FloatArray | None,
    ) -> tuple[float, float]:
        """See `Kernel.mse_loss`."""
        check_matrices(A, B, A.shape)
        check_batch(X, T, weights, A.shape[1])
        with np.errstate(all="ignore"):
            E, _ = residuals(A, B, scale, X, T)
            plain = squares(E, None)
            return (plain if weights is None else squares(E, weights)), plain

    def mse_gradient(
        self,
        A: FloatArray,
        B: FloatArray,
        scale: float,
        X: FloatArray,
        T: FloatArray,
        weights: FloatArray | None,
        energy: float,
        dA: FloatArray,
        dB: FloatArray,
    ) -> tuple[float, float]:
        """See `Kernel.mse_gradient`."""
        check_matrices(A, B, A.shape)
        check_batch(X, T, weights, A.shape[1])
        inputs = (A, B, X, T) if weights is None else (A, B, X, T, weights)
        check_output(dA, A.shape, inputs)
        check_output(dB, B.shape, (*inputs, dA))
        with np.errstate(all="ignore"):
            return slopes(A, B, scale, X, T, weights, energy, dA, dB)

    def mse_update(
        self,
        A: FloatArray,
        B: FloatArray,
        scale: float,
        X: FloatArray,
        T: FloatArray,
        weights: FloatArray | None,
        energy: float,
        learning_rate: float,
        clip_threshold: float,
        A_out: FloatArray,
        B_out: FloatArray,
    ) -> tuple[float, float]:
        """See `Kernel.mse_update`."""
        check_matrices(A, B, A.shape)
        check_batch(X, T, weights, A.shape[1])
        inputs = (A, B, X, T) if weights is None else (A, B, X, T, weights)
        check_output(A_out, A.shape, inputs)
        check_output(B_out, B.shape, (*inputs, A_out))
        return step(A, B, scale, X, T, weights, energy, learning_rate, clip_threshold, A_out, B_out)

    def forward_many(
        self,
        slabs: Slabs,
        rank: int,
        slots: IntArray,
        scales: Float64Array,
        rows: IntArray,
        X: FloatArray,
        out: FloatArray,
    ) -> int:
        """See `Kernel.forward_many`."""
        check_output(X, X.shape, (), writes=False)
        check_output(out, X.shape, (X, *slabs))
        check_slots(slabs, rank, X.shape[-1], len(slots), slots, scales)
        check_rows(rows, len(slots), len(X))
        blocks, size, bad = len(slabs[0]), 2 * rank * X.shape[1], len(X)
        step = max(1, GATHERED // (4 * size))
        with np.errstate(all="ignore"):
            for start in range(0, len(slots), step):
                part = slice(start, start + step)
                here, gathered = rows[part], gather(slabs, blocks, slots[part], size)
                each = scales if len(scales) == 1 else scales[part]
                Y, finite = forward_gathered(gathered, rank, each, X[here])
                out[here[finite]] = Y[finite]
                bad = min(bad, here[~finite].min(initial=bad))
        return -1 if bad == len(X) else int(bad)

    def mse_update_many(
        self,
        slabs: Slabs,
        rank: int,
        sources: IntArray,
        targets: IntArray,
        scales: Float64Array,
        learning_rates: Float64Array,
        clip_thresholds: Float64Array,
        stretches: IntArray,
        X: FloatArray,
        T: FloatArray,
        weights: FloatArray | None,
        results: Float64Array,
    ) -> None:
        """See `Kernel.mse_update_many`."""
        n, dim = len(sources), X.shape[-1]
        check_batch(X, T, weights, dim)
        check_slots(slabs, rank, dim, n, sources, scales, learning_rates, clip_thresholds)
        check_slots(slabs, rank, dim, n, targets)
        check_stretches(stretches, n, len(X))
        check_exactly(results, np.float64, (n, 3))
        if not results.flags.writeable:
            raise ValueError("results: read-only")
        numbers = (np.broadcast_to(each, n) for each in (scales, learning_rates, clip_thresholds))
        scales, learning_rates, clip_thresholds = numbers
        for i in range(n):
            rows = slice(*stretches[i])
            w = None if weights is None else weights[rows]
            A, B = matrices(slabs, sources[i], rank, dim)
            energy, _ = self.mse_sums(X[rows], T[rows], w)
            error = norm = math.nan
            if math.isfinite(energy) and energy > 0:
                A_out, B_out = matrices(slabs, targets[i], rank, dim)
                error, norm = step(
                    A,
                    B,
                    scales[i],
                    X[rows],
                    T[rows],
                    w,
                    energy,
                    learning_rates[i],
                    clip_thresholds[i],
                    A_out,
                    B_out,
                )
            results[i] = error, energy, norm


NUMPY = NumpyKernel()
