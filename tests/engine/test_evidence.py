"""What counts as evidence, at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.engine.banks import ScriptedBank
from tests.engine.people import People

import lorabank.consolidation.consolidator as consolidator_module
from lorabank import Calibration, ConsolidationCriteria, ContrastiveConfig, Evidence
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.population.rows import collect_rows
from lorabank.population.tasks import ContrastiveTask


async def test_evidence_that_is_not_a_number_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = Evidence(math.nan, math.nan, math.nan, 9, 90)
    monkeypatch.setattr(consolidator_module, "prove", lambda *_: nothing)
    people, bank = People("mse"), ScriptedBank()
    async with Engine(people.config(), bank) as engine:
        await people.live(engine)
        criteria = ConsolidationCriteria(max_groups=0)
        report = await engine.consolidate_adaptation_patterns(criteria)
        assert not report.groups[0].kept
        assert all(skill.prior is None for skill in await bank.skills("default"))


def test_the_likelihood_leaves_out_what_the_user_had_before_even_at_tau_zero() -> None:
    people = People("contrastive")
    assert people.items is not None
    rows = collect_rows({"ab": [people.feedback(0, i) for i in range(3)]}, "contrastive")
    assert rows is not None
    assert rows.items is not None
    task = ContrastiveTask(rows, people.items, ContrastiveConfig())
    losses = task.losses(None, Calibration(tau=0.0), np.arange(len(rows)))
    offered = [60 - len({*rows.items[:i].tolist()} - {rows.items[i]}) for i in range(len(rows))]
    np.testing.assert_allclose(losses, np.log(offered), rtol=1e-5)
