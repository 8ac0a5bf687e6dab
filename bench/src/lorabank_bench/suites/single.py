"""One adapter at a time, beside plain numpy, FAISS and the peers."""

from __future__ import annotations

from functools import partial
from time import perf_counter

import faiss
import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, ItemPool, Personalizer
from lorabank.kernels import NUMPY, Kernel
from lorabank.types.arrays import FloatArray
from lorabank_bench.looping import in_loop
from lorabank_bench.measuring import Case, Timings, case
from lorabank_bench.results import Figure, Results
from lorabank_bench.setup import Setup, feedback, trained, unit_rows

NUMPY_BOUND = "calls of numpy, not arithmetic: [numpy's kernel](#numpys-kernel)"
COMPILED_BOUND = "arithmetic, in cache: [kernels](kernels.md)"
UPDATE_MARKS = {(64, 4): (2.5, 35.0), (384, 8): (9.0, 50.0), (768, 8): (18.0, 65.0)}
RATE, CLIP = 0.3, 1.0
REFERENCE = "plain numpy"


def forward(setup: Setup, results: Results) -> None:
    """`Adapter.transform` of one vector and of a batch of 1000."""
    for dim, rank in setup.shapes:
        for rows in (1, 1000):
            peers = setup.peers.forward(dim, rank, rows) if rows == 1 or dim == 384 else []
            times = setup.time([*_forwards(setup, dim, rank, rows), *peers])
            _add(results, "forward", f"{rows} x {dim}, rank {rank}", times)
            if (dim, rank) == (384, 8):
                _forward_marks(results, times, rows)


def update(setup: Setup, results: Results) -> None:
    """One clipped step on a batch of 10, mse: the kernel alone."""
    for dim, rank in setup.shapes:
        batch = feedback(10, dim)
        own = [_step(setup.kernel, dim, rank), _plain_step(dim, rank)]
        if setup.kernel is not NUMPY:
            own.insert(1, _step(NUMPY, dim, rank))
        times = setup.time([*own, *setup.peers.update(dim, rank, batch)])
        _add(results, "update of 10", f"10 x {dim}, rank {rank}", times)
        fast, plain = UPDATE_MARKS[dim, rank]
        for name, limit in ((setup.kernel.name, fast), ("numpy", plain)):
            found = 1e6 * times.median(f"lorabank ({name})")
            what = f"update of 10, {dim}/r{rank}, {name} kernel"
            bound = NUMPY_BOUND if name == "numpy" else COMPILED_BOUND
            results.mark(what, f"<= {limit:g} us", f"{found:.1f} us", found <= limit, bound)


def ranking(setup: Setup, results: Results) -> None:
    """`Personalizer.rank` of a known user over a pool, beside FAISS flat over the same items."""
    for items in (1_000, 2_500) if setup.quick else (2_500, 100_000):
        times = in_loop(partial(_rank, items, 5 if setup.quick else 15))
        _add(results, "rank", f"10 best of {items} x 384", times, "FAISS flat")


async def _rank(items: int, rounds: int) -> Timings:
    """In turns; a large pool is ranked in a worker thread, so this waits for it."""
    pool, context = ItemPool(unit_rows(items, 384)), unit_rows(1, 384, 5)[0]
    index = faiss.IndexFlatIP(384)
    index.add(pool.vectors)
    faiss.omp_set_num_threads(1)
    config = EngineConfig(EmbeddingSpace("bench", 384), rank=8)
    found: dict[str, list[float]] = {"lorabank": [], "FAISS flat": []}
    turns = max(3, 250_000 // items)
    async with Personalizer.open(config, items=pool, fresh_for=1e9) as p:
        await p.rank("user", context)
        flat = case("FAISS flat", lambda: index.search(context[None], 10))
        for _ in range(rounds):
            started = perf_counter()
            for _ in range(turns):
                await p.rank("user", context)
            found["lorabank"].append((perf_counter() - started) / turns)
            found["FAISS flat"].append(flat.run(turns) / turns)
    return Timings(found)


def _forwards(setup: Setup, dim: int, rank: int, rows: int) -> list[Case]:
    X = unit_rows(rows, dim)
    X = X[0] if rows == 1 else X
    out = np.empty_like(X)
    cases = []
    for kernel in {one.name: one for one in (setup.kernel, NUMPY)}.values():
        adapter = trained(dim, rank, kernel)
        work = partial(adapter.transform, X, out=out)
        cases.append(case(f"lorabank ({kernel.name})", work))
    return [*cases, plain_forward(dim, rank, X)]


def plain_forward(dim: int, rank: int, X: FloatArray) -> Case:
    """What one would write in numpy by hand, into a given array."""
    adapter = trained(dim, rank)
    A_T, B_T = adapter.A.T, adapter.B.T
    out = np.empty_like(X)

    def work() -> None:
        np.matmul(X @ A_T, B_T, out=out)
        np.add(out, X, out=out)

    return case(REFERENCE, work)


def _step(kernel: Kernel, dim: int, rank: int) -> Case:
    adapter, batch = trained(dim, rank), feedback(10, dim)
    assert batch.target is not None
    A, B, x, target = adapter.A, adapter.B, batch.x, batch.target
    A_out, B_out = np.empty_like(A), np.empty_like(B)

    def work() -> None:
        energy, _ = kernel.mse_sums(x, target, None)
        kernel.mse_update(A, B, 1.0, x, target, None, energy, RATE, CLIP, A_out, B_out)

    return case(f"lorabank ({kernel.name})", work)


def _plain_step(dim: int, rank: int) -> Case:
    adapter, batch = trained(dim, rank), feedback(10, dim)
    assert batch.target is not None
    A, B, X, T = adapter.A, adapter.B, batch.x, batch.target

    def work() -> None:
        plain_step(A, B, X, T)

    return case(REFERENCE, work)


def plain_step(A: FloatArray, B: FloatArray, X: FloatArray, T: FloatArray) -> object:
    """The same step written by hand in numpy."""
    H = X @ A.T
    E = H @ B.T
    E += X
    E -= T
    E *= 2 / np.vdot(X, X)
    dB = E.T @ H
    dA = (E @ B).T @ X
    norm = float(np.vdot(dA, dA) + np.vdot(dB, dB)) ** 0.5
    rate = RATE * min(1.0, CLIP / norm)
    return A - rate * dA, B - rate * dB


def _add(
    results: Results, section: str, what: str, times: Timings, reference: str = REFERENCE
) -> None:
    for name in times.rounds:
        ratio = None if name == reference else times.ratio(name, reference)
        value = 1e6 * times.median(name)
        results.add(Figure(section, what, name, value, "us", ratio, reference if ratio else ""))


def _forward_marks(results: Results, times: Timings, rows: int) -> None:
    own = next(iter(times.rounds))
    found = 1e6 * times.median(own)
    limit = 2.0 if rows == 1 else 220.0
    name = "forward with out=" if rows == 1 else "batch of 1000"
    what, shown = f"{name}, 384/r8", f"{found:.2f} us"
    results.mark(what, f"<= {limit:g} us", shown, found <= limit, COMPILED_BOUND)
    for peer in ("ruvllm", "sona"):
        if peer in times.rounds:
            faster = times.ratio(peer, own)
            what = f"{name}, 384/r8, against {peer}"
            results.mark(what, ">= 6 x faster", f"{faster:.1f} x", faster >= 6)
