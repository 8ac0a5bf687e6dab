"""Runs every compiled method on arrays between forbidden pages; prints "untouched" or dies."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lorabank_kernels

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
HELD: list[mmap.mmap] = []


def fenced(values: NDArray[Any], at_end: bool) -> NDArray[Any]:
    """A copy whose last byte, or first, borders a page without access."""
    pages = -(-values.nbytes // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    HELD.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + (pages + 1) * PAGE):
        if LIBC.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE + (pages * PAGE - values.nbytes if at_end else 0)
    copy = np.frombuffer(memory, values.dtype, values.size, offset).reshape(values.shape)
    copy[...] = values
    return copy


def run(kernel: Any, n: int, dim: int, rank: int, at_end: bool) -> None:
    """All methods once."""
    rng = np.random.default_rng(dim)

    def draw(*shape: int) -> NDArray[Any]:
        return fenced(rng.standard_normal(shape).astype(np.float32), at_end)

    A, B, X, T, out = draw(rank, dim), draw(dim, rank), draw(n, dim), draw(n, dim), draw(n, dim)
    A_out, B_out, w = draw(rank, dim), draw(dim, rank), draw(n)
    assert kernel.forward(A, B, 1.0, X, out)
    assert kernel.forward(A, B, 1.0, X[-1 if at_end else 0], out[-1 if at_end else 0])
    kernel.mse_sums(X, T, w)
    kernel.mse_loss(A, B, 1.0, X, T, w)
    kernel.mse_gradient(A, B, 1.0, X, T, w, 1.0, A_out, B_out)
    kernel.mse_update(A, B, 1.0, X, T, w, 1.0, 0.1, 1.0, A_out, B_out)
    slots, ones = fenced(np.arange(n), at_end), fenced(np.ones(n), at_end)
    slabs = (draw(n, 2 * rank * dim),)
    rows = fenced(np.arange(n)[::-1], at_end)
    assert kernel.forward_many(slabs, rank, slots, ones, rows, X, out) == -1
    stretches = fenced(np.arange(n)[:, None] + np.arange(2), at_end)
    results, numbers = fenced(np.zeros((n, 3)), at_end), (ones, ones, ones)
    kernel.mse_update_many(slabs, rank, slots, slots, *numbers, stretches, X, T, None, results)


if __name__ == "__main__":
    for name in lorabank_kernels.variants():
        for dim in (1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 71):
            for rank in {1, 2, 3, 4, 5, 8, 16, 17, 70}:
                for n in (1, 2, 5, 6):
                    for at_end in (True, False):
                        run(lorabank_kernels.load(name), n, dim, min(rank, dim), at_end)
                HELD.clear()
    sys.stdout.write("untouched\n")
