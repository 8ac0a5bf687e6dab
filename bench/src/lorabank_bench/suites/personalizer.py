"""Throughput of `Personalizer.learn` over SQLite on this machine's disk."""

from __future__ import annotations

from typing import Any

from lorabank_bench.results import Figure, Results
from lorabank_bench.setup import Setup
from lorabank_bench.throughput import Load, in_a_process

BOUND = "Python, under the interpreter's lock: [256 callers](#learn-by-256-callers)"
# Growth of the process in the second half of a run that counts as bounded, in MiB.
BOUNDED = 32.0


def personalizer(setup: Setup, results: Results) -> None:
    """256 callers, 10,000 users, without a bank and with one."""
    users, updates = (500, 1_000) if setup.quick else (10_000, 20_000)
    for dim, rank, bank in ((64, 4, None), (384, 8, None), (64, 4, "memory://")):
        found = in_a_process(Load(dim, rank, 256, users, updates, bank))
        name = f"256 callers, {users} users, {dim}/r{rank}"
        _add(results, name + (", memory bank" if bank else ""), found)
        if (dim, bank) == (64, None):
            _marks(results, name, found)


def _add(results: Results, what: str, found: dict[str, Any]) -> None:
    section, subject = "`learn` by many callers", "updates per second"
    rate, plain = found["updates_per_second"], found["plain_per_second"]
    results.add(Figure(section, what, subject, rate, "", rate / plain, "plain SQLite's"))
    for key, subject, unit in (
        ("plain_per_second", "plain SQLite", "/ s"),
        ("p50_ms", "p50", "ms"),
        ("p99_ms", "p99", "ms"),
        ("cpu_us_per_update", "CPU per update", "us"),
        ("collecting_us_per_update", "of it, collecting cycles", "us"),
        ("longest_collection_ms", "longest collection", "ms"),
        ("resident_mb_half", "memory at half", "MiB"),
        ("resident_mb_end", "memory at the end", "MiB"),
        ("file_mb", "file", "MiB"),
    ):
        results.add(Figure(section, what, subject, found[key], unit))


def _marks(results: Results, what: str, found: dict[str, Any]) -> None:
    rate, tail = found["updates_per_second"], found["p99_ms"]
    growth = found["resident_mb_end"] - found["resident_mb_half"]
    results.mark(f"{what}: throughput", ">= 5000 / s", f"{rate:.0f} / s", rate >= 5000, BOUND)
    results.mark(f"{what}: p99", "< 100 ms", f"{tail:.0f} ms", tail < 100, BOUND)
    limit, shown = f"<= {BOUNDED:g} MiB in the second half", f"{growth:.1f} MiB"
    results.mark(f"{what}: growth of memory", limit, shown, growth <= BOUNDED)
