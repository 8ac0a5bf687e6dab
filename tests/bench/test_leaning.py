"""Leaning rankings looked at among past users."""

from __future__ import annotations

from dataclasses import replace

from tests.support.made_up_log import SMALL, made_up

from lorabank.evaluation.methods.registry import EVERYTHING, METHODS
from lorabank.evaluation.running import run
from lorabank_bench.controls import past_of
from lorabank_bench.leaning import BESIDE, STRAIGHT, lines, methods


def test_everything_is_compared_with_itself_straight() -> None:
    """The probabilities are the same to the last bit."""
    settings = replace(SMALL, quick=True)
    chosen = [m for m in methods() if m.key in (*BESIDE, EVERYTHING)]
    assert {m.key for m in chosen} == {*BESIDE, EVERYTHING}
    assert STRAIGHT not in {m.key for m in METHODS}
    past = past_of(made_up().dataset(), settings, 7)
    found = run(past, settings, 7, print, chosen)
    text = list(lines([found], settings))
    assert len(text) == len(BESIDE) + 1
    assert text[0].startswith(f"{EVERYTHING} vs {BESIDE[0]}: nDCG@10 ")
    assert "NLL +0.000 [+0.000, +0.000]" in text[BESIDE.index(STRAIGHT)]
    assert (found.outcomes[EVERYTHING].events.nll == found.outcomes[STRAIGHT].events.nll).all()
