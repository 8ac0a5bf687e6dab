"""Recall of the approximate index at every size: ``python -m lorabank_bench.faiss_backend.sizes``.

How many lists there are is a power of two, so their share that is looked into goes in steps; this
looks at both sides of each. Asked with other sentences than those that the numbers were chosen by.
"""

from __future__ import annotations

import argparse
import sys
import time

import faiss
import numpy as np

from lorabank.types.arrays import FloatArray
from lorabank_bench.faiss_backend.texts import bank_and_queries
from lorabank_faiss.approximate import Approximate, sample_size
from lorabank_faiss.rows import Selected

K, CANDIDATES = 5, 15
SIZES = (12_000, 23_000, 33_000, 50_000, 66_000, 68_000, 85_000, 100_000, 150_000, 260_000, 275_000)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=23)
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    vectors, queries = bank_and_queries(max(args.sizes), args.queries, args.dim, args.seed)
    sys.stdout.write(f"| rows | lists | recall@{K} | ms |\n|---|---|---|---|\n")
    for size in args.sizes:
        index = built(vectors[:size])
        share, seconds = recall(index, vectors[:size], queries)
        lists = index.coarse.nlist
        sys.stdout.write(f"| {size:,} | {lists} | {share:.3f} | {1e3 * seconds:.2f} |\n")
        sys.stdout.flush()


def built(vectors: FloatArray) -> Approximate:
    """As the store builds it."""
    count = len(vectors)
    rng = np.random.default_rng(0)
    sample = rng.choice(count, min(count, sample_size(count)), replace=False)
    index = Approximate.train(vectors[np.sort(sample)], count)
    index.add(vectors)
    return index


def recall(index: Approximate, vectors: FloatArray, queries: FloatArray) -> tuple[float, float]:
    """Share of the K nearest that are among the candidates, and CPU seconds of a search."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    least, everything = flat.search(queries, K)[0][:, -1], Selected(None, len(vectors))
    started = time.thread_time()
    found = [index.search(query, CANDIDATES, everything).rows for query in queries]
    seconds = (time.thread_time() - started) / len(queries)
    hits = [
        np.count_nonzero(vectors[rows] @ query >= score - 1e-5)
        for rows, query, score in zip(found, queries, least, strict=True)
    ]
    return float(np.minimum(hits, K).mean() / K), seconds


if __name__ == "__main__":
    main()
