"""Which index? Recall@5 against exact search, latency, bytes and build time, on text-like data.

``python -m lorabank_bench.faiss_backend.choice --rows 100000`` prints a Markdown table. One thread.
"Re-ranked" means: the index proposes candidates, their exact scores come from the float32 vectors.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import faiss
import numpy as np

from lorabank.types.arrays import FloatArray
from lorabank_bench.faiss_backend.texts import bank_and_queries

K = 5


@dataclass(frozen=True)
class Candidate:
    """An index with its searches: each effort is a label and what to set before searching."""

    name: str
    build: Callable[[FloatArray], Any]
    efforts: tuple[tuple[str, int | None], ...]
    rerank: int  # candidates looked at exactly; 0: scores of the index are exact


def main() -> None:
    """Measure all candidates and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--only", default="", help="names that contain this")
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    rows, queries = bank_and_queries(args.rows, args.queries, args.dim)
    truth = exact(rows, queries)
    out = sys.stdout
    out.write(f"{args.rows} x {args.dim}\n\n| index | effort | recall@5 | median ms | p99 ms ")
    out.write("| bytes/row | build s |\n|---|---|---|---|---|---|---|\n")
    for candidate in candidates(args.rows, args.dim):
        if args.only in candidate.name:
            for line in measured(candidate, rows, queries, truth):
                out.write(line + "\n")
                out.flush()


def candidates(count: int, dim: int) -> Iterator[Candidate]:
    """What is compared."""
    few, many = lists(count), 2 * lists(count)
    probes = (16, 64, 128, 256, 512)
    ivf: tuple[tuple[str, int | None], ...] = tuple((f"nprobe {n}", n) for n in probes)
    beams: tuple[tuple[str, int | None], ...] = tuple((f"efSearch {n}", n) for n in (32, 64, 128))
    yield Candidate("flat", lambda x: filled(faiss.IndexFlatIP(dim), x), (("", None),), 0)
    yield Candidate(f"IVF{few} flat", lambda x: filled(ivf_of(dim, few, "Flat"), x), ivf, 0)
    for size in (few, many):
        yield Candidate(
            f"IVF{size} SQ8 re-ranked",
            lambda x, size=size: filled(ivf_of(dim, size, "SQ8"), x),  # type: ignore[misc]
            ivf,
            8 * K,
        )
    for codes, rerank in product((f"PQ{dim // 4}x4fs", f"PQ{dim // 2}x4fs", "RaBitQfs"), (20, 40)):
        yield Candidate(
            f"IVF{few} {codes} {rerank * K} re-ranked",
            lambda x, codes=codes: filled(ivf_of(dim, few, codes), x),  # type: ignore[misc]
            ivf,
            rerank * K,
        )
    yield Candidate(
        "HNSW32 SQ8 re-ranked",
        lambda x: filled(faiss.index_factory(dim, "HNSW32_SQ8", faiss.METRIC_INNER_PRODUCT), x),
        beams,
        8 * K,
    )


def lists(count: int) -> int:
    """About 2 sqrt(n), a power of two."""
    return int(2 ** round(np.log2(2 * np.sqrt(count))))


def ivf_of(dim: int, size: int, codes: str) -> Any:
    """An untrained IVF index by cosine of unit vectors."""
    index = faiss.index_factory(dim, f"IVF{size},{codes}", faiss.METRIC_INNER_PRODUCT)
    faiss.extract_index_ivf(index).cp.spherical = True
    return index


def filled(index: Any, rows: FloatArray) -> Any:
    """Trained on a sample and filled."""
    if not index.is_trained:
        rng = np.random.default_rng(0)
        size = 64 * getattr(index, "nlist", 256)
        index.train(rows[rng.permutation(len(rows))[:size]])
    index.add(rows)
    return index


def exact(rows: FloatArray, queries: FloatArray) -> FloatArray:
    """The K-th best score of each query (queries,): whatever reaches it is a true neighbour."""
    scores: FloatArray = faiss.knn(queries, rows, K, metric=faiss.METRIC_INNER_PRODUCT)[0]
    return scores[:, -1]


def measured(
    candidate: Candidate, rows: FloatArray, queries: FloatArray, truth: FloatArray
) -> Iterator[str]:
    """Table rows, one per effort."""
    started = time.perf_counter()
    index = candidate.build(rows)
    build = time.perf_counter() - started
    size = len(faiss.serialize_index(index)) / len(rows)
    for label, effort in candidate.efforts:
        set_effort(index, effort)
        hits, seconds = asked(index, candidate.rerank, rows, queries)
        recall = np.mean(
            [
                np.mean(rows[hit] @ query >= least - 1e-5)
                for hit, query, least in zip(hits, queries, truth, strict=True)
            ]
        )
        median, tail = 1e3 * np.quantile(seconds, [0.5, 0.99])
        yield (
            f"| {candidate.name} | {label} | {recall:.3f} | {median:.2f} | {tail:.2f} "
            f"| {size:.0f} | {build:.1f} |"
        )


def set_effort(index: Any, effort: int | None) -> None:
    """How hard to search; None for an index that knows no such thing."""
    if effort is None:
        return
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = effort
    else:
        index.nprobe = effort


def asked(
    index: Any, rerank: int, rows: FloatArray, queries: FloatArray
) -> tuple[list[list[int]], list[float]]:
    """Neighbours and seconds, one query at a time."""
    hits, seconds = [], []
    for query in queries:
        started = time.perf_counter()
        found = index.search(query[None], rerank or K)[1][0]
        if rerank:
            found = found[found >= 0]
            found = found[np.argsort(-(rows[found] @ query), kind="stable")[:K]]
        seconds.append(time.perf_counter() - started)
        hits.append(found.tolist())
    return hits, seconds


if __name__ == "__main__":
    main()
