"""The reference kernel: plain numpy, always there."""

from __future__ import annotations

import math

import numpy as np

from lorabank.kernels.checks import check_batch, check_matrices, check_output, check_slots
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
        check_matrices(A, B, A.shape)
        check_output(X, X.shape if X.ndim == 2 else (A.shape[1],), (), writes=False)
        check_output(out, X.shape, (A, B, X))
        with np.errstate(all="ignore"):
            H = X @ A.T
            if not np.isfinite(H).all():
                return False
            H *= scale
            np.matmul(H, B.T, out=out)
            out += X
        return True

    def mse_sums(
        self, X: FloatArray, T: FloatArray, weights: FloatArray | None
    ) -> tuple[float, float]:
        """See `Kernel.mse_sums`."""
        check_batch(X, T, weights, X.shape[-1])
        with np.errstate(all="ignore"):
            return _squares(X, weights), _squares(X - T, weights)

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
            E, _ = _residuals(A, B, scale, X, T)
            plain = _squares(E, None)
            return (plain if weights is None else _squares(E, weights)), plain

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
            return _slopes(A, B, scale, X, T, weights, energy, dA, dB)

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
        return _step(
            A, B, scale, X, T, weights, energy, learning_rate, clip_threshold, A_out, B_out
        )

    def forward_many(
        self,
        slabs: Slabs,
        rank: int,
        slots: IntArray,
        scales: Float64Array,
        X: FloatArray,
        out: FloatArray,
    ) -> int:
        """See `Kernel.forward_many`."""
        check_output(X, X.shape, (), writes=False)
        check_output(out, X.shape, (X, *slabs))
        check_slots(slabs, rank, X.shape[-1], len(X), slots, scales)
        blocks, size = len(slabs[0]), 2 * rank * X.shape[1]
        step = max(1, GATHERED // (4 * size))
        with np.errstate(all="ignore"):
            for start in range(0, len(X), step):
                part = slice(start, start + step)
                gathered = _gather(slabs, blocks, slots[part], size)
                bad = _forward_gathered(gathered, rank, scales[part], X[part], out[part])
                if bad >= 0:
                    return start + bad
        return -1

    def mse_update_many(
        self,
        slabs: Slabs,
        rank: int,
        sources: IntArray,
        targets: IntArray,
        scales: Float64Array,
        learning_rates: Float64Array,
        clip_thresholds: Float64Array,
        starts: IntArray,
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
        if results.shape != (n, 3) or results.dtype != np.float64 or not results.flags.writeable:
            raise ValueError(f"results: shape {results.shape}, expected {(n, 3)} of float64")
        if (
            len(starts) != n + 1
            or starts[0] != 0
            or starts[-1] != len(X)
            or np.any(starts[1:] <= starts[:-1])
        ):
            raise ValueError("starts: do not rise from 0 to the number of rows")
        for i in range(n):
            rows = slice(starts[i], starts[i + 1])
            w = None if weights is None else weights[rows]
            A, B = _matrices(slabs, sources[i], rank, dim)
            energy, _ = self.mse_sums(X[rows], T[rows], w)
            error = norm = math.nan
            if math.isfinite(energy) and energy > 0:
                A_out, B_out = _matrices(slabs, targets[i], rank, dim)
                rate, clip = float(learning_rates[i]), float(clip_thresholds[i])
                error, norm = _step(
                    A, B, float(scales[i]), X[rows], T[rows], w, energy, rate, clip, A_out, B_out
                )
            results[i] = error, energy, norm


NUMPY = NumpyKernel()


def _squares(V: FloatArray, weights: FloatArray | None) -> float:
    if weights is None:
        return float(np.vdot(V, V))
    return float(weights @ np.einsum("ij,ij->i", V, V))


def _residuals(
    A: FloatArray, B: FloatArray, scale: float, X: FloatArray, T: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """E = Y - T, and s H."""
    H: FloatArray = X @ A.T
    H *= scale
    E: FloatArray = H @ B.T
    E += X
    E -= T
    return E, H


def _slopes(
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
    E, H = _residuals(A, B, scale, X, T)
    error = _squares(E, weights)
    if weights is not None:
        E *= weights[:, None]
    E *= 2.0 / energy
    np.matmul(E.T, H, out=dB)
    U = E @ B
    U *= scale
    np.matmul(U.T, X, out=dA)
    return error, math.sqrt(float(np.vdot(dA, dA)) + float(np.vdot(dB, dB)))


def _step(
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
    dA, dB = np.empty_like(A), np.empty_like(B)
    with np.errstate(all="ignore"):
        error, norm = _slopes(A, B, scale, X, T, weights, energy, dA, dB)
    if math.isfinite(error) and math.isfinite(norm):
        rate = -learning_rate * (clip_threshold / norm if norm > clip_threshold else 1.0)
        dA *= rate
        dB *= rate
        np.add(A, dA, out=A_out)
        np.add(B, dB, out=B_out)
    return error, norm


def _matrices(slabs: Slabs, slot: int, rank: int, dim: int) -> tuple[FloatArray, FloatArray]:
    """Views of A and B of a slot."""
    slab, row = divmod(int(slot), len(slabs[0]))
    block, half = slabs[slab][row], rank * dim
    return block[:half].reshape(rank, dim), block[half : 2 * half].reshape(dim, rank)


def _gather(slabs: Slabs, blocks: int, slots: IntArray, size: int) -> FloatArray:
    """Copies of the blocks, (n, size)."""
    if len(slabs) == 1:
        return slabs[0][slots, :size]
    gathered = np.empty((len(slots), size), np.float32)
    which, rows = np.divmod(slots, blocks)
    for slab in np.unique(which):
        here = np.flatnonzero(which == slab)
        gathered[here] = slabs[slab][rows[here], :size]
    return gathered


def _forward_gathered(
    gathered: FloatArray, rank: int, scales: Float64Array, X: FloatArray, out: FloatArray
) -> int:
    """The first row that is not finite, or -1; rows before it are written."""
    n, dim = X.shape
    A = gathered[:, : rank * dim].reshape(n, rank, dim)
    B = gathered[:, rank * dim :].reshape(n, dim, rank)
    H = np.matmul(A, X[:, :, None])
    bad = np.flatnonzero(~np.isfinite(H).all(axis=(1, 2)))
    good = int(bad[0]) if bad.size else n
    H *= scales.astype(np.float32)[:, None, None]
    np.matmul(B[:good], H[:good], out=out[:good, :, None])
    out[:good] += X[:good]
    return good if bad.size else -1
