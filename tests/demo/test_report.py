"""The report needs nothing but itself, and says what did not help."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from tests.demo.test_run import one_run

from lorabank.demo.findings import findings
from lorabank.demo.html import render
from lorabank.demo.results import Report, Run, Skills, mean_over_seeds
from lorabank.evaluation import Interval
from lorabank.evaluation.machine import this_machine
from lorabank.types.strategy import ArmEffect

ARM = ArmEffect("learning_rate", 2.0, 0.01, 0.004, 0.001, 0.02, 50, 20, 0.99)


def report_of(*runs: Run) -> Report:
    return Report("0.1.0", "lorabank demo <&>", this_machine(), runs, mean_over_seeds(runs))


@pytest.mark.parametrize("seeds", [1, 2])
def test_report_is_self_contained(seeds: int) -> None:
    html = render(report_of(*(replace(one_run(seed), arms=(ARM,)) for seed in range(seeds))))
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", html)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    links = re.findall(r"https?://[^\"'\s<]+", html)
    assert {link for link in links if not link.startswith("http://www.w3.org/")} == set()
    assert "lorabank demo &lt;&amp;&gt;" in html
    assert ("All seeds" in html) == (seeds == 2)


def test_plots_are_well_formed_and_described() -> None:
    html = render(report_of(replace(one_run(), arms=(ARM,))))
    plots = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(plots) == (4 if one_run().learning_curve else 3)
    for plot in plots:
        assert ET.fromstring(plot).attrib["aria-label"]


def test_a_run_without_trials_has_a_report_too() -> None:
    assert "Hyperparameters" in render(report_of(replace(one_run(), arms=(), learning_curve=())))


def test_findings_say_when_it_does_not_help() -> None:
    run = one_run()
    lost = Interval(-0.1, -0.2, -0.05)
    methods = tuple(replace(method, ndcg_vs_blend=lost) for method in run.methods)
    text = " ".join(findings([replace(run, methods=methods)]))
    assert "NOT reached" in text
    assert "does not help, and ranks worse" in text
    nothing = replace(run, skills=Skills(0, 0, 0, Interval(0.0, 0.0, 0.0)))
    assert "could not prove" in " ".join(findings([nothing]))
    assert "learning_rate x2" in " ".join(findings([replace(run, arms=(ARM,))]))
