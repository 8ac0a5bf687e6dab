"""Tables that fit 80 columns whole."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.demo.test_run import one_run

from lorabank.cli.tables import print_report
from lorabank.demo.results import Report, mean_over_seeds
from lorabank.evaluation.machine import this_machine


@pytest.mark.parametrize("seeds", [1, 2])
def test_tables_fit_and_nothing_is_cut(seeds: int) -> None:
    runs = tuple(one_run(seed) for seed in range(seeds))
    report = Report("0", "lorabank demo", this_machine(), runs, mean_over_seeds(runs))
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=80))
    text = stream.getvalue()
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for method in runs[0].methods:
        assert f"{method.ndcg:.4f}" in text
    assert ("All seeds" in text) == (seeds == 2)
    assert f"{runs[0].episodes.held} held" in text
