"""Controls looked at among past users: no new user, and nothing from after they begin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.made_up_log import SMALL, made_up

from lorabank.evaluation.methods.registry import METHODS
from lorabank.evaluation.running import run
from lorabank.evaluation.splits import make_split
from lorabank_bench.controls import PAIRS, lines, past_of

DATA = made_up().dataset()


@pytest.mark.parametrize("kind", ["users", "temporal"])
def test_new_users_are_in_nothing(kind: str) -> None:
    settings = replace(SMALL, split=kind)
    new = make_split(DATA, settings, 0)
    past = past_of(DATA, settings)
    assert 0 < len(past.user) < len(DATA.user)
    assert not np.isin(past.user, new.who).any()
    if new.cut is not None:
        assert past.time.max() < new.cut
        assert make_split(past, settings, 0).cut < new.cut


def test_pairs_are_compared() -> None:
    settings = replace(SMALL, quick=True)
    wanted = {key for pair in PAIRS for key in pair}
    methods = [method for method in METHODS if method.key in wanted]
    found = list(lines([run(past_of(DATA, settings), settings, 0, print, methods)], settings))
    assert len(found) == len(PAIRS) + len(wanted)
    assert found[0].startswith("skills vs random_groups: nDCG@10 ")
    assert any("seed 0, shuffled_bank: " in line for line in found)
