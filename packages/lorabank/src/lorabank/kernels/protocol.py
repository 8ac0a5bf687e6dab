"""What a kernel must give.

Laws that hold for every kernel (``tests/kernels`` proves them):

- All arrays are C-contiguous float32 unless said otherwise; none may be empty. A is (rank, dim),
  B (dim, rank), X and T (n, dim), weights (n,) or None for ones. `forward` also takes a vector.
- Anything else raises TypeError, ValueError, IndexError or BufferError before anything is written.
- Outputs share no memory with inputs, and nothing is written but outputs.
- Results agree with float64 arithmetic as float32 sums can; a kernel does not change the process's
  floating-point mode, and holds no state.
- A, B and what is in slabs is finite. X, T and weights may hold anything.
- `mse_loss` may be given an A and B that are not: then its sums are not finite either, so a loss
  that is finite proves that the matrices are.
"""

from __future__ import annotations

from typing import Protocol

from lorabank.types.arrays import Float64Array, FloatArray, IntArray

Slabs = tuple[FloatArray, ...]


class Kernel(Protocol):
    """Forward and ``mse`` update of adapters ``y = x + scale * B @ (A @ x)``."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    def forward(
        self, A: FloatArray, B: FloatArray, scale: float, X: FloatArray, out: FloatArray, /
    ) -> bool:
        """Y into ``out``, of X's shape, (dim,) or (n, dim).

        Returns False, with ``out`` as it was, if A x is not finite: X holds NaN or infinity, or
        numbers too large for float32.
        """
        ...

    def mse_sums(
        self, X: FloatArray, T: FloatArray, weights: FloatArray | None, /
    ) -> tuple[float, float]:
        """(sum w |x|^2, sum w |x - t|^2): the energy, and the error of the identity."""
        ...

    def mse_loss(
        self,
        A: FloatArray,
        B: FloatArray,
        scale: float,
        X: FloatArray,
        T: FloatArray,
        weights: FloatArray | None,
        /,
    ) -> tuple[float, float]:
        """(sum w |y - t|^2, sum |y - t|^2)."""
        ...

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
        /,
    ) -> tuple[float, float]:
        """The gradient of ``sum w |y - t|^2 / energy`` into dA (rank, dim) and dB (dim, rank).

        Returns (sum w |y - t|^2, joint L2 norm of dA and dB).
        """
        ...

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
        /,
    ) -> tuple[float, float]:
        """One step of gradient descent, clipped by the joint norm, into A_out and B_out.

        Returns (sum w |y - t|^2 before the step, joint norm before clipping). If one of them is
        not finite, nothing is written.
        """
        ...

    def forward_many(
        self,
        slabs: Slabs,
        rank: int,
        slots: IntArray,
        scales: Float64Array,
        rows: IntArray,
        X: FloatArray,
        out: FloatArray,
        /,
    ) -> int:
        """Row ``rows[i]`` of X (m, dim) through the adapter in ``slots[i]``, into that of ``out``.

        Nothing but speed depends on the order, in which adapters are visited: from memory, rising
        slots are faster.

        Args:
            slabs: arrays (blocks, width) of one shape. Slot s is row ``s % blocks`` of slab
                ``s // blocks``: A, then B, then whatever fills the width.
            rank: of the adapters.
            slots, rows: int64 (n,).
            scales: float64 (n,), or (1,) for all.

        Returns the first row of X that is not finite (see `forward`), and -1 if there is none. Of
        ``out``, rows that are not finite or not among ``rows`` are left as they were.
        """
        ...

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
        /,
    ) -> None:
        """`mse_update` for n adapters, one after the other.

        Args:
            slabs, rank: as for `forward_many`.
            sources, targets: (n,) slots that are read, and written; they may be the same.
            scales, learning_rates, clip_thresholds: float64 (n,), or (1,) for all.
            stretches: int64 (n, 2): adapter i learns from the rows ``stretches[i, 0]`` to
                ``stretches[i, 1] - 1`` of X, T and weights, one at least.
            results: (n, 3): sum w |y - t|^2, the energy, and the norm, as `mse_update` returns
                them. Where one is not finite, or the energy is zero, the target is left as it was.
        """
        ...
