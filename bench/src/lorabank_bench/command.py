"""``lorabank-bench``: measures, and writes the numbers into the documentation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import perf_counter

import click

# Threads of BLAS wait for one another on small matrices; FAISS and torch are kept to one as well.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# What slows numpy's own choice of kernels, and with it "plain numpy", is not used.
DROPPED = {
    name: os.environ.pop(name)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    if name in os.environ
}

NAMES = (
    "forward", "update", "rank", "many", "engine", "personalizer", "scaling", "heartbeat",
)  # fmt: skip


@click.command()
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only these suites.")
@click.option("--quick", is_flag=True, help="Small sizes: does everything run?")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="A page with markers to write into.")
@click.option("--save", type=click.Path(path_type=Path), help="A file for the JSON.")
@click.option("--guard", is_flag=True, help="Only look whether ratios are within wide margins.")
@click.option(
    "--peers",
    "modules",
    type=click.Path(path_type=Path),
    default=Path(".cache/bench-peers/node_modules"),
    help="Where npm put the peers.",
)
def main(
    only: tuple[str, ...],
    quick: bool,
    as_json: bool,
    out: Path | None,
    save: Path | None,
    guard: bool,
    modules: Path,
) -> None:
    """Measure lorabank beside plain numpy, FAISS, the memory's speed and installed peers."""
    if guard:
        from lorabank_bench.guard import guarded

        raise SystemExit(0 if guarded() else 1)
    from lorabank_bench.machine import this_machine
    from lorabank_bench.peers import found_peers
    from lorabank_bench.report import markdown, write_into
    from lorabank_bench.results import Results, say
    from lorabank_bench.setup import Setup
    from lorabank_bench.suites import SUITES

    started = perf_counter()
    results = Results(this_machine(DROPPED), quick)
    with found_peers(modules) as peers:
        results.absent += peers.absent
        setup = Setup(quick, peers)
        for name in only or NAMES:
            say(f"{name} ({perf_counter() - started:.0f} s)")
            SUITES[name](setup, results)
    results.seconds = perf_counter() - started
    data = json.dumps(results.as_json(), indent=1)
    if save is not None:
        save.write_text(data + "\n", encoding="utf-8")
    if out is not None:
        write_into(out, results)
    click.echo(data if as_json else markdown(results))


if __name__ == "__main__":
    main()
