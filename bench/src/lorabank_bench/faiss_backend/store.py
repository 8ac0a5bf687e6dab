"""The store itself, on text-like data: ``python -m lorabank_bench.faiss_backend.store``.

Prints one Markdown table: writing, asking (with exact flat search beside it), opening, bytes.
Searches go through the store's public method, event loop and worker thread included, one at a time.
Each kind is asked in turns with flat searches, so that both have the same machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import faiss
import numpy as np

from lorabank.types.arrays import FloatArray
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Match, Outcome, Pattern
from lorabank.types.query import EVERYTHING, PatternFilter
from lorabank.types.space import EmbeddingSpace
from lorabank_bench.faiss_backend.texts import bank_and_queries
from lorabank_faiss import FaissStore, Settings, open_store
from lorabank_faiss.schema import FILE

K = 5
BATCH = 1_000
SMALL_TENANT = 10
TURN, FLAT_TURN = 25, 3  # searches between two turns of flat ones, and how many those are


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument(
        "--directory", type=Path, default=None, help="kept; one that is filled is only asked"
    )
    args = parser.parse_args()
    directory = args.directory or Path(tempfile.mkdtemp())
    faiss.omp_set_num_threads(1)
    vectors, queries = bank_and_queries(args.rows, args.queries, args.dim)
    sys.stdout.write(f"{args.rows} x {args.dim}, k = {K}, one thread, {machine()}\n\n")
    sys.stdout.write("| what | value |\n|---|---|\n")
    try:
        anyio.run(measure, directory, vectors, queries)
    finally:
        if args.directory is None:
            shutil.rmtree(directory)


async def measure(directory: Path, vectors: FloatArray, queries: FloatArray) -> None:
    """Write, ask, open again."""
    settings = Settings(directory)
    if not (directory / FILE).exists():
        async with open_store(settings) as store:
            await fill(store, vectors)
    flat = flat_index(vectors)
    del vectors
    least = flat.search(queries, K)[0][:, -1]
    shutil.rmtree(directory / "index", ignore_errors=True)
    started = time.perf_counter()
    async with open_store(settings) as store:
        row("open without a snapshot (builds the index)", f"{time.perf_counter() - started:.1f} s")
        await store.settle()
    held = resident(directory)
    held = resident(directory)
    started = time.perf_counter()
    async with open_store(settings) as store:
        row("open with a good snapshot", f"{time.perf_counter() - started:.2f} s")
        count = (await store.stats("default")).patterns
        row("memory per pattern (resident)", f"{held / count:.0f} bytes")
        row("disk per pattern", f"{on_disk(directory) / count:.0f} bytes")
        await ask(store, queries, least, flat)


async def fill(store: FaissStore, vectors: FloatArray) -> None:
    """Everything in batches, and a tenant with few patterns."""
    await store.bind(EmbeddingSpace("wordllama", vectors.shape[1], normalised=True))
    few = [pattern(number, "small", vectors[number]) for number in range(SMALL_TENANT)]
    await store.put_many(few)
    seconds = 0.0
    for start in range(0, len(vectors), BATCH):
        batch = [
            pattern(number, "default", vectors[number])
            for number in range(start, min(start + BATCH, len(vectors)))
        ]
        started = time.perf_counter()
        await store.put_many(batch)
        seconds += time.perf_counter() - started
    row(f"stored in batches of {BATCH}, durable", f"{len(vectors) / seconds:,.0f} patterns/s")


def pattern(number: int, namespace: str, context: FloatArray) -> Pattern:
    """An episode like an engine's; one in ten has a reward of 0.9 and more."""
    reward = (number * 7919 % 1000) / 1000
    return Pattern(
        id=f"{number:032x}",
        namespace=namespace,
        user_key=f"{number % 5000:032x}",
        task="watched and rated films",
        context=context,
        objective="contrastive",
        rank=8,
        hyperparameters=Hyperparameters(),
        selection="default",
        propensity=1.0,
        samples=4,
        created_at=1.7e9 + number,
        critique="the loss on the next batch went down",
        outcome=Outcome(0.4, 0.5, 0.2, reward, success=reward > 0.5),
    )


async def ask(
    store: FaissStore, queries: FloatArray, least: FloatArray, flat: faiss.IndexFlatIP
) -> None:
    """Latency and recall of searches, with and without filters."""
    cases = {
        "retrieve": ("default", EVERYTHING),
        "retrieve, success only (half of them)": ("default", PatternFilter(success=True)),
        "retrieve, reward >= 0.99 (1 %)": ("default", PatternFilter(min_reward=0.99)),
        "retrieve, one user": ("default", PatternFilter(user_key=f"{17:032x}")),
        f"retrieve, tenant with {SMALL_TENANT}": ("small", EVERYTHING),
    }
    for name, (namespace, where) in cases.items():
        seconds, beside, answers, worked = [], [], [], 0.0
        await store.search(namespace, queries[0], K, where)
        for start in range(0, len(queries), TURN):
            turn = queries[start : start + TURN]
            beside += flat_seconds(flat, turn[:FLAT_TURN])
            working = time.process_time()
            for query in turn:
                started = time.perf_counter()
                answers.append(await store.search(namespace, query, K, where))
                seconds.append(time.perf_counter() - started)
            worked += time.process_time() - working
        median, tail = 1e3 * np.quantile(seconds, [0.5, 0.99])
        exact = 1e3 * float(np.median(beside))
        row(
            f"{name}: median, p99",
            f"{median:.2f}, {tail:.2f} ms; {1e3 * worked / len(queries):.2f} ms of CPU; "
            f"exact flat search (FAISS) in turns with it {exact:.2f} ms: {exact / median:.1f} x",
        )
        if where == EVERYTHING and namespace == "default":
            row("recall@5 against exact", f"{recall(answers, least):.3f}")


def recall(answers: Sequence[Sequence[Match]], least: FloatArray) -> float:
    """Share of answers that are as near as the true k-th neighbour."""
    return float(
        np.mean(
            [
                sum(match.score >= score - 1e-5 for match in matches) / K
                for matches, score in zip(answers, least, strict=True)
            ]
        )
    )


def flat_index(vectors: FloatArray) -> faiss.IndexFlatIP:
    """FAISS's exact search."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def flat_seconds(index: faiss.IndexFlatIP, queries: FloatArray) -> list[float]:
    """Of each query alone."""
    seconds = []
    for query in queries:
        started = time.perf_counter()
        index.search(query[None], K)
        seconds.append(time.perf_counter() - started)
    return seconds


def row(what: str, value: str) -> None:
    """One line of the table, at once."""
    sys.stdout.write(f"| {what} | {value} |\n")
    sys.stdout.flush()


def resident(directory: Path) -> float:
    """Bytes that a process of its own holds for the open store, once it has searched (Linux)."""
    command = [sys.executable, "-m", "lorabank_bench.faiss_backend.resident", str(directory)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def on_disk(directory: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def machine() -> str:
    """Processor and versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return (
        f"{model} ({os.cpu_count()} cores), Python {platform.python_version()}, "
        f"FAISS {faiss.__version__}"
    )


if __name__ == "__main__":
    main()
