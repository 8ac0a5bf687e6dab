"""The compiled kernel beside the same written for numba: speed, first call, installed size.

    uv run --with numba python bench/benchmarks/kernel_choice.py

Processor microseconds per call: the median of rounds in turns; of one BLAS thread for numpy.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from time import perf_counter, thread_time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numba
import numpy as np

from lorabank import open_kernel
from lorabank_kernels import _lora

# What numba may do to sums so that it can vectorise them, as the compiled kernel does by hand.
FREE = {"reassoc", "contract"}


@numba.njit(nogil=True, fastmath=FREE)
def forward(A: Any, B: Any, s: float, X: Any, out: Any) -> None:
    """Rows of A one by one; then rows of B."""
    n, d = X.shape
    scale = np.float32(s)
    r = A.shape[0]
    h = np.empty(r, np.float32)
    for i in range(n):
        for k in range(r):
            total = np.float32(0)
            for j in range(d):
                total += A[k, j] * X[i, j]
            h[k] = total * scale
        for j in range(d):
            total = X[i, j]
            for k in range(r):
                total += B[j, k] * h[k]
            out[i, j] = total


@numba.njit(nogil=True, fastmath=FREE)
def update(  # noqa: C901 - one kernel
    A: Any, B: Any, s: float, X: Any, T: Any, energy: float, rate: float, clip: float,
    A_out: Any, B_out: Any,
) -> float:  # fmt: skip
    """One clipped step; loops in an order that LLVM can vectorise."""
    n, d = X.shape
    scale = np.float32(s)
    r = A.shape[0]
    dA, Bt = np.zeros((r, d), np.float32), B.T.copy()
    dBt, e = np.zeros((r, d), np.float32), np.empty(d, np.float32)
    for i in range(n):
        for j in range(d):
            e[j] = X[i, j] - T[i, j]
        for k in range(r):
            h = np.float32(0)
            for j in range(d):
                h += A[k, j] * X[i, j]
            h *= scale
            for j in range(d):
                e[j] += h * Bt[k, j]
        c = np.float32(2.0 / energy)
        for k in range(r):
            h, u = np.float32(0), np.float32(0)
            for j in range(d):
                h += A[k, j] * X[i, j]
                u += e[j] * Bt[k, j]
            h, u = h * c * scale, u * c * scale
            for j in range(d):
                dA[k, j] += u * X[i, j]
                dBt[k, j] += h * e[j]
    squares = np.float32(0)
    for k in range(r):
        for j in range(d):
            squares += dA[k, j] ** 2 + dBt[k, j] ** 2
    norm = np.sqrt(squares)
    eta = np.float32(-rate * (clip / norm if norm > clip else 1.0))
    for k in range(r):
        for j in range(d):
            A_out[k, j] = A[k, j] + eta * dA[k, j]
            B_out[j, k] = B[j, k] + eta * dBt[k, j]
    return float(norm)


def main() -> None:
    """Prints one line for each shape and operation."""
    compiled, plain = open_kernel("compiled"), open_kernel("numpy")
    started = perf_counter()
    small = [np.ones(shape, np.float32) for shape in ((2, 4), (4, 2), (3, 4), (3, 4))]
    A, B, X, T = small
    forward(A, B, 1.0, X, np.empty_like(X))
    update(A, B, 1.0, X, T, 1.0, 0.3, 1.0, A.copy(), B.copy())
    show(f"numba's first calls: {perf_counter() - started:.2f} s (compiling, without its cache)")
    show(f"{compiled.name}: {os.stat(_lora.__file__).st_size / 1e6:.2f} MB installed")  # noqa: PTH116
    for name in ("numba", "llvmlite"):
        files = distribution(name).files or []
        size = sum(os.stat(f.locate()).st_size for f in files if f.locate().exists())  # type: ignore[attr-defined]  # noqa: PTH116
        show(f"{name} {distribution(name).version}: {size / 1e6:.1f} MB installed")
    for dim, rank in ((64, 4), (384, 8), (768, 8)):
        compare(dim, rank, compiled, plain)


def compare(dim: int, rank: int, compiled: Any, plain: Any) -> None:
    """One vector, a thousand, and an update of ten."""
    rng = np.random.default_rng(0)
    shapes = ((rank, dim), (dim, rank), (1000, dim), (1000, dim))
    A, B, X, T = (rng.standard_normal(shape, np.float32) for shape in shapes)
    out, A_out, B_out = np.empty_like(X), np.empty_like(A), np.empty_like(B)
    energy = float(np.vdot(X[:10], X[:10]))
    for n in (1, 1000):
        rows = (A, B, 1.0, X[:n], out[:n])
        calls = {
            "compiled": lambda rows=rows: compiled.forward(*rows),
            "numba": lambda rows=rows: forward(*rows),
            "numpy": lambda rows=rows: plain.forward(*rows),
        }
        report(f"forward of {n}, {dim}/r{rank}", calls)
    batch, outputs = (A, B, 1.0, X[:10], T[:10]), (energy, 0.3, 1.0, A_out, B_out)
    calls = {
        "compiled": lambda: compiled.mse_update(*batch, None, *outputs),
        "numba": lambda: update(*batch, *outputs),
        "numpy": lambda: plain.mse_update(*batch, None, *outputs),
    }
    report(f"update of 10, {dim}/r{rank}", calls)


def report(title: str, calls: dict[str, Callable[[], object]]) -> None:
    """Times in turns."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(15):
        for name, call in calls.items():
            count, begun = 0, thread_time()
            while thread_time() - begun < 0.01:
                for _ in range(10):
                    call()
                count += 10
            spent[name].append(1e6 * (thread_time() - begun) / count)
    found = {name: statistics.median(times) for name, times in spent.items()}
    show(f"{title}: " + ", ".join(f"{name} {us:.2f} us" for name, us in found.items()))


def show(line: str) -> None:
    """On stdout."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
