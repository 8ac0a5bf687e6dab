"""What a mixture is made of, expert by expert."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.support.made_up_log import SMALL, made_up

from lorabank import MixtureConfig
from lorabank_bench.mixing import lines


def test_experts_are_listed_with_the_mixture_and_the_best_of_them() -> None:
    text = list(lines(made_up().dataset(), replace(SMALL, quick=True), 7, MixtureConfig()))
    assert re.fullmatch(r"seed 7: \d+ new users, \d+ events", text[0])
    pattern = r"  (\d\.\d+)  (\S+): gains (\S+) \(held out (\S*)\), (\d\.\d+)"
    found = [match.groups() for line in text if (match := re.fullmatch(pattern, line))]
    names = [name for _, name, *_ in found]
    assert names[0] == "identity"
    assert names[-1] == "own"
    assert found[0][2] == found[0][3] == "+0.000"
    assert sum(float(weight) for *_, weight in found) == pytest.approx(1, abs=0.01)
    alone = {name: float(nll) for nll, name, *_ in found}
    (mixture,) = [line for line in text if line.endswith("  mixture")]
    (against,) = [
        match.groups()
        for line in text
        if (match := re.match(r"  mixture minus (\S+): (\S+) \[", line)) and match[1] in alone
    ]
    best, difference = against
    assert alone[best] <= min(alone.values()) + 1e-4
    expected = float(mixture.split()[0]) - alone[best]
    assert float(difference) == pytest.approx(expected, abs=2e-4)
