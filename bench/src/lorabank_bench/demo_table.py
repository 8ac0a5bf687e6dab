"""The tables of `docs/demo.md`, from what the demo prints.

lorabank demo --seed 6 --seeds 6 --json | python -m lorabank_bench.demo_table
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lorabank.evaluation.report.words import percent

METHODS = ("popularity", "blend", "without_bank", "bank_start", "with_bank")


def main() -> None:
    """Read one JSON object from stdin, print Markdown."""
    report = json.load(sys.stdin)
    for part in (_machine, _ranking, _others, _online):
        sys.stdout.write("\n".join(part(report)) + "\n\n")


def _machine(report: Mapping[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    yield f"{machine['cores']}-core {machine['cpu']}, Python {machine['python']}"
    seconds = [f"{run['seconds']['total']:.0f}" for run in report["runs"]]
    yield f"seconds per run: {', '.join(seconds)}"


def _ranking(report: Mapping[str, Any]) -> Iterator[str]:
    yield _row(["seed", "rate", *METHODS, "with_bank against the blend"])
    yield _row(["---"] * (3 + len(METHODS)))
    for run in report["runs"]:
        setup = run["setup"]
        values = [_method(run["methods"], key) for key in METHODS]
        gain = _share(values[-1]["ndcg_vs_blend"])
        scores = [f"{value['ndcg']:.4f}" for value in values]
        yield _row([setup["seed"], setup["learning_rate"], *scores, gain])
    means = [_method(report["mean"], key) for key in METHODS]
    gain = percent(means[-1]["ndcg_vs_blend"])
    lowest = percent(means[-1]["ndcg_vs_blend_lowest"])
    scores = [f"{mean['ndcg']:.4f}" for mean in means]
    yield _row(["mean", "", *scores, f"{gain}, lowest lower bound {lowest}"])


def _others(report: Mapping[str, Any]) -> Iterator[str]:
    yield "| method | HR@10 | NLL |"
    yield "|---|---|---|"
    for mean in report["mean"]:
        yield _row([mean["key"], f"{mean['hit_rate']:.4f}", f"{mean['nll']:.3f}"])


def _online(report: Mapping[str, Any]) -> Iterator[str]:
    yield "| seed | nDCG@10 | NLL | worse than the blend | worse than frozen | hinted | cache |"
    yield "|---|---|---|---|---|---|---|"
    for run in report["runs"]:
        online, updates = run["online"], run["updates"]
        nll = online["nll"]
        yield _row(
            [
                run["setup"]["seed"],
                _share(online["ndcg"], 1),
                f"{nll['mean']:+.3f} [{nll['lower']:+.3f}, {nll['upper']:+.3f}]",
                *map(_harmed, run["changes"]),
                f"{100 * updates['hinted'] / (updates['past'] + updates['new']):.0f} %",
                f"{100 * updates['cache_hit_rate']:.0f} %",
            ]
        )


def _harmed(change: Mapping[str, Any]) -> str:
    users = change["helped"] + change["harmed"] + change["unchanged"]
    return (
        f"{change['harmed']} of {users}, by {-change['harmed_mean']:.3f}, "
        f"at worst {-change['worst']:.3f}"
    )


def _share(interval: Mapping[str, float], digits: int = 0) -> str:
    low, high = 100 * interval["lower"], 100 * interval["upper"]
    return f"{percent(interval['mean'], digits)} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _method(methods: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    return next(method for method in methods if method["key"] == key)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
