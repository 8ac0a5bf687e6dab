"""What a plain loop reads at random: the floor of `forward_many` where users or rows are scattered.

    uv run python bench/benchmarks/random_read.py

Needs gcc or clang, and AVX-512 for the sums. Blocks are 2 KB, an adapter's at 64/r4; a row of the
inputs or the outputs is 256 bytes. The loop only adds up what it reads, asks for what comes some
blocks later, and writes past the caches: what a forward can't do with less. Shares are of what BLAS
reads in order in the same round, of all bytes moved; medians of the thread's processor time.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from lorabank_bench.suites.many import _fresh

SOURCE = r"""
#include <immintrin.h>
#include <stdint.h>
#include <stddef.h>

static inline __attribute__((always_inline)) void ask(const float *p, int bytes)
{
    for (int k = 0; k < bytes; k += 64)
        _mm_prefetch((const char *)p + k, _MM_HINT_T1);
}

void scan(const float *pool, const int64_t *slots, size_t n, size_t ahead, const float *X,
          float *out, const int64_t *rows)
{
    __m512 s = _mm512_setzero_ps(), t = s, u = s, v = s;
    for (size_t i = 0; i < n; i++) {
        if (ahead && i + ahead < n && slots[i + ahead] != slots[i + ahead - 1] + 1)
            ask(pool + 512 * slots[i + ahead], 2048);
        if (ahead && X && i + ahead < n)
            ask(X + 64 * rows[i + ahead], 256);
        const float *p = pool + 512 * slots[i];
        for (int k = 0; k < 512; k += 64) {
            s = _mm512_add_ps(s, _mm512_load_ps(p + k));
            t = _mm512_add_ps(t, _mm512_load_ps(p + k + 16));
            u = _mm512_add_ps(u, _mm512_load_ps(p + k + 32));
            v = _mm512_add_ps(v, _mm512_load_ps(p + k + 48));
        }
        for (int k = 0; X && k < 64; k += 16)
            _mm512_stream_ps(out + 64 * rows[i] + k,
                             _mm512_add_ps(s, _mm512_load_ps(X + 64 * rows[i] + k)));
    }
    s = _mm512_add_ps(_mm512_add_ps(s, t), _mm512_add_ps(u, v));
    volatile float sink = _mm512_reduce_add_ps(s);
    (void)sink;
}
"""
USERS, AHEAD = 100_000, (0, 2, 4, 8, 16)


def main() -> None:
    """Measure, and print a table."""
    pool, X, out = _fresh(USERS, 512), _fresh(USERS, 64), _fresh(USERS, 64)
    pool[:], X[:], out[:] = 1.0, 1.0, 0.0
    order = np.arange(USERS)
    mixed = np.random.default_rng(0).permutation(USERS)
    flat = np.ones(pool.size, np.float32)
    with tempfile.TemporaryDirectory() as place:
        scan = partial(_compiled(Path(place)).scan, *map(_pointer, (pool,)))
        cases: dict[str, tuple[float, Callable[[], object]]] = {
            "BLAS, in order": (1.0, partial(np.vdot, flat, flat))
        }
        for ahead in AHEAD:
            args = (ctypes.c_size_t(USERS), ctypes.c_size_t(ahead))
            name = f"blocks at random, asked for {ahead} ahead"
            cases[name] = 1.0, partial(scan, _pointer(mixed), *args, None, None, None)
            name = f"blocks in order, rows at random, asked for {ahead} ahead"
            rows = (_pointer(X), _pointer(out), _pointer(mixed))
            cases[name] = 1.25, partial(scan, _pointer(order), *args, *rows)
        report(cases)


def report(cases: dict[str, tuple[float, Callable[[], object]]]) -> None:
    """In turns; each case with the bytes that it moves, in those of the blocks."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(25):
        for name, (_, work) in cases.items():
            started = thread_time()
            work()
            seconds[name].append(thread_time() - started)
    first = next(iter(cases))
    sys.stdout.write("| what | ns per user | share of reading in order |\n|---|---|---|\n")
    for name, (moved, _) in cases.items():
        pairs = zip(seconds[first], seconds[name], strict=True)
        share = moved * statistics.median(one / other for one, other in pairs)
        each = 1e9 * statistics.median(seconds[name]) / USERS
        sys.stdout.write(f"| {name} | {each:.0f} | {share:.0%} |\n")


def _pointer(array: np.ndarray) -> Any:
    return ctypes.c_void_p(array.ctypes.data)


def _compiled(place: Path) -> Any:
    source, library = place / "scan.c", place / "scan.so"
    source.write_text(SOURCE, encoding="utf-8")
    command = ["cc", "-O3", "-mavx512f", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


if __name__ == "__main__":
    main()
