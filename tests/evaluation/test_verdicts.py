"""What the report says, for results that are known beforehand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.support.made_up_log import SMALL, made_up

from lorabank.evaluation.measures.bound import Bound, Single
from lorabank.evaluation.methods.registry import METHODS
from lorabank.evaluation.metrics import EventScores
from lorabank.evaluation.report.assemble import assemble
from lorabank.evaluation.report.findings import NO_HELP
from lorabank.evaluation.report.html import render
from lorabank.evaluation.report.results import Report
from lorabank.evaluation.running import Outcome, Run
from lorabank.evaluation.splits import make_split
from lorabank.evaluation.views import make_view

MADE = made_up()
# Method -> share of the rank that is left, and nats that are gained.
WORLDS = {
    "helps": {"blend": (1.0, 0.2), "knn": (0.8, 0.4), "shared": (0.7, 0.5), "everything": (0.4, 1)},
    "harms": {"blend": (0.8, 0.2), "knn": (0.4, 1.0), "shared": (0.8, 0.3), "everything": (0.9, 0)},
}


def report(world: str, seeds: int = 2) -> Report:
    keys = ("popularity", "blend", "likely_blend", "knn", "shared", "everything")
    methods = {method.key: method for method in METHODS}
    data, runs = MADE.dataset(), []
    for seed in range(seeds):
        split = make_split(data, SMALL, seed)
        view = make_view(split.new, MADE.vectors, window=5, decay=0.8)
        rng = np.random.default_rng(seed)
        rank = rng.integers(1, 40, len(view)).astype(float)
        nll = rng.normal(5, 0.2, len(view))
        outcomes = {}
        for key in keys:
            left, gained = WORLDS[world].get(key, (1.0, 0.0))
            scores = EventScores(np.ceil(left * rank), nll - gained + rng.normal(0, 0.1, len(nll)))
            outcomes[key] = Outcome(methods[key], scores, 5 - gained, {}, 1.0, 2.0, 3.0)
        single = Single(f"expert {seed}", nll - WORLDS[world]["shared"][1])
        runs.append(Run(seed, split, view, outcomes, 1.0, Bound(1.0, 3.0), single=single))
    return assemble(data, SMALL, runs, "lorabank evaluate")


def marks_of(found: Report) -> dict[str, bool | None]:
    return {mark.name: mark.reached for mark in found.marks}


def test_a_bank_that_helps() -> None:
    found = report("helps")
    assert found.best_bank_free == "knn"
    assert found.findings[0].startswith("The bank helps on your data")
    marks = marks_of(found)
    assert marks["everything vs best frozen blend, nDCG@10"]
    assert marks["everything vs shared adapter, nDCG@10"]
    assert marks["everything vs best item-kNN, nDCG@10"]
    assert marks["users harmed (NLL), and the bound"]


def test_a_bank_that_does_not_help() -> None:
    found = report("harms")
    assert found.findings[0].startswith(NO_HELP)
    marks = marks_of(found)
    assert marks["everything vs best frozen blend, nDCG@10"] is False
    assert marks["everything vs best item-kNN, nDCG@10"] is False
    assert marks["area under the NLL curve vs best bank-free method"] is False


def test_a_mixture_that_is_worse_than_one_of_its_experts_is_told() -> None:
    for world, difference in (("helps", -0.5), ("harms", 0.3)):
        found = report(world)
        assert found.best_single is not None
        assert found.best_single.experts == ("expert 0", "expert 1")
        assert found.best_single.nll.mean == pytest.approx(difference, abs=0.02)
        name = "the mixture vs its best single expert, NLL"
        mark = next(mark for mark in found.marks if mark.name == name)
        assert mark.reached is (difference < 0)
        assert mark.found.endswith("against expert 0 or expert 1")


def test_what_was_not_run_is_neither_reached_nor_missed() -> None:
    marks = marks_of(report("helps"))
    assert marks["skills vs random groups"] is None
    assert marks["after a drift"] is None


def test_a_target_that_is_never_met_saves_nothing() -> None:
    for world, met in (("helps", True), ("harms", False)):
        found = report(world)
        ours = found.method("everything")
        assert ours is not None
        assert ours.target_adjusted.reached is met
        mark = next(mark for mark in found.marks if mark.name == "events to the bank-free target")
        count = f"{ours.target_adjusted.events.mean:.0f} events"
        assert mark.found.startswith("not within " + count) is not met
        assert ("fewer (" + count in mark.found) is met
        page = re.search(r"<h2>Learning</h2>.*?</table>", render(found), re.DOTALL)
        assert page is not None
        rows = dict(re.findall(r"<tr[^>]*><td>(\S+)</td>(.*?)</tr>", page[0], re.DOTALL))
        cells = re.findall(r"<td>(.*?)</td>", rows[ours.name.strip()])
        assert (cells[1] == "never") is not met
        assert (cells[2] == "&ndash;") is not met


def test_numbers_are_those_of_all_seeds() -> None:
    one, two = report("helps", 1), report("helps", 2)
    mine = {seed: r.method("everything") for seed, r in (("one", one), ("two", two))}
    assert mine["one"] is not None
    assert mine["two"] is not None
    width = {k: m.nll.upper - m.nll.lower for k, m in mine.items() if m is not None}
    assert width["two"] < width["one"]
    assert mine["two"].nll_vs_blend.mean == pytest.approx(-1.0, abs=0.05)
    assert (mine["two"].fit_seconds, mine["two"].bytes_per_user) == (1.0, 3.0)
