"""The tables of results in `docs/evaluate.md`, from what the evaluation prints.

lorabank evaluate movielens --seeds 5 --json | python -m lorabank_bench.evaluate_table
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from lorabank.evaluation.report.words import percent

# None: it was not run, or nothing can be said.
VERDICTS = {True: "reached", False: "**not reached**", None: ""}


def main() -> None:
    """Read one JSON object from stdin, print Markdown."""
    report = json.load(sys.stdin)
    for part in (_run, _methods, _marks, _findings):
        sys.stdout.write("\n".join(part(report)) + "\n\n")


def _run(report: Mapping[str, Any]) -> Iterator[str]:
    machine, seeds = report["machine"], report["seeds"]
    users = "; ".join(f"{s['users_fit']}, {s['users_choose']}, {s['users_new']}" for s in seeds)
    yield f"`{report['command']}`, {machine['cores']}-core {machine['cpu']}"
    yield f"Users to fit on, to choose on, and new, by seed: {users}."
    yield f"Seconds by seed: {', '.join(str(round(seed['seconds'])) for seed in seeds)}."


def _methods(report: Mapping[str, Any]) -> Iterator[str]:
    yield "| method | nDCG@10 | against the blend | HR@10 | NLL | area |"
    yield "|---|---|---|---|---|---|"
    for method in report["methods"]:
        cells = [
            method["name"],
            f"{method['ndcg']['mean']:.4f}",
            _share(method["ndcg_vs_blend"]),
            f"{method['hit_rate']['mean']:.4f}",
            f"{method['nll']['mean']:.3f}",
            _nats(method["area_vs_bank_free"]),
        ]
        yield f"| {' | '.join(cells)} |"


def _marks(report: Mapping[str, Any]) -> Iterator[str]:
    yield "| mark | wanted | found | |"
    yield "|---|---|---|---|"
    for mark in report["marks"]:
        verdict = VERDICTS[mark["reached"]]
        yield f"| {mark['name']} | {mark['wanted']} | {mark['found']} | {verdict} |"


def _findings(report: Mapping[str, Any]) -> Iterator[str]:
    for finding in report["findings"]:
        yield f"- {finding}"


def _share(interval: Mapping[str, float]) -> str:
    low, high = 100 * interval["lower"], 100 * interval["upper"]
    return f"{percent(interval['mean'])} [{low:+.0f}, {high:+.0f}]"


def _nats(interval: Mapping[str, float]) -> str:
    return f"{interval['mean']:+.3f} [{interval['lower']:+.3f}, {interval['upper']:+.3f}]"


if __name__ == "__main__":
    main()
