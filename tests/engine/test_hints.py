"""Hints: used and explained where the evidence is there, and never for the holdout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.engine.banks import (
    ScriptedBank,
    make_config,
    run_updates,
)
from tests.engine.evidence import DEFAULTS, evidence

from lorabank import Adapter, QueryConfig, RlsConfig, TrialConfig, user_key
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.adaptation.least_squares import work_of_solving
from lorabank.engine.updating import INLINE_WORK
from lorabank.numerics.mse import MseBatch

PATIENT = QueryConfig(budget=5.0)


async def test_hints_from_evidence_are_used_and_explained() -> None:
    bank = ScriptedBank()
    config = make_config(query=PATIENT, defaults=DEFAULTS, trials=TrialConfig(holdout=0.0))
    async with Engine(config, bank) as engine:
        await bank.inner.store_patterns(evidence())
        adapter, reports = await run_updates(engine, await engine.create_adapter("u"), 2)
    for report in reports:
        assert report.hyperparameters.learning_rate == pytest.approx(0.2)
        assert report.hints.selection == "hinted"
        assert report.hints.applied == ("learning_rate",)
        assert len(report.hints.similar) == config.query.k
        explanation = report.hints.explain()
        assert "learning rate: 0.2" in explanation
        assert "30 users" in explanation
    assert adapter.pending is not None
    assert (adapter.pending.selection, adapter.pending.propensity) == ("hinted", 1.0)
    assert adapter.pending.hyperparameters == reports[1].hyperparameters


async def test_holdout_users_are_never_hinted_and_always_the_same() -> None:
    bank = ScriptedBank()
    config = make_config(query=PATIENT, defaults=DEFAULTS, trials=TrialConfig(holdout=0.3))
    selections = {}
    async with Engine(config, bank) as engine:
        await bank.inner.store_patterns(evidence())
        for i in range(40):
            adapter, reports = await run_updates(engine, await engine.create_adapter(f"{i}"), 3)
            assert len({report.hints.selection for report in reports}) == 1
            selections[f"{i}"] = reports[0].hints.selection
            pending = adapter.pending
            assert pending is not None
            if reports[0].hints.selection == "holdout":
                assert reports[0].hyperparameters == DEFAULTS
                assert pending.propensity == pytest.approx(0.3)
            else:
                assert pending.propensity == pytest.approx(0.7)
    held = [user for user, selection in selections.items() if selection == "holdout"]
    assert 4 <= len(held) <= 20
    fraction = [int(user_key(user, b"lorabank")[:8], 16) / 2**32 for user in held]
    assert max(fraction) < 0.3


async def test_without_evidence_the_defaults_are_kept_and_it_says_so() -> None:
    config = make_config(query=PATIENT, trials=TrialConfig(holdout=0.0))
    async with Engine(config, "memory://") as engine:
        _, [report] = await run_updates(engine, await engine.create_adapter("u"), 1)
    assert report.hints.selection == "default"
    assert report.hyperparameters == config.defaults
    assert "keep" in report.hints.explain()


async def test_the_rls_solver_turns_hints_down_and_says_so() -> None:
    bank = ScriptedBank()
    config = make_config(
        query=PATIENT, defaults=DEFAULTS, trials=TrialConfig(holdout=0.0), solver="rls"
    )
    async with Engine(config, bank) as engine:
        await bank.inner.store_patterns(evidence())
        adapter, [report, _] = await run_updates(engine, await engine.create_adapter("u"), 2)
    assert report.hints.selection == "default"
    assert report.hints.refused == ("learning_rate: the solver 'rls' has no such setting",)
    assert report.hyperparameters == config.defaults
    assert not report.in_trial
    assert adapter.rls is not None
    assert report.loss_after < report.loss_before


async def test_a_users_own_trials_are_no_evidence_about_others() -> None:
    bank, own = ScriptedBank(), user_key("u", b"lorabank")
    config = make_config(query=PATIENT, defaults=DEFAULTS, trials=TrialConfig(holdout=0.0))
    async with Engine(config, bank) as engine:
        await bank.inner.store_patterns([replace(p, user_key=own) for p in evidence(6)])
        _, [report] = await run_updates(engine, await engine.create_adapter("u"), 1)
        assert report.hints.strategy is not None
        assert report.hints.strategy.summary.trials == 0
        _, [other] = await run_updates(engine, await engine.create_adapter("v"), 1)
        assert other.hints.strategy is not None
        assert other.hints.strategy.summary.trials == 6


async def test_the_rls_solver_keeps_A_and_carries_its_state_through_bytes() -> None:
    async with Engine(make_config(solver="rls")) as engine:
        adapter = await engine.create_adapter("u")
        A = adapter.A
        reports = []
        for seed in range(3):
            adapter, [report] = await run_updates(engine, adapter, 1, seed)
            reports.append(report)
            adapter = Adapter.from_bytes(adapter.to_bytes())
        np.testing.assert_array_equal(adapter.A, A)
        assert adapter.rls is not None
        merged = engine.merge_adapters([adapter, adapter])
        assert merged.rls is None
        again, [report] = await run_updates(engine, merged, 1)
        assert again.rls is not None
    assert all(report.loss_after < report.loss_before for report in reports)


def test_the_rls_solver_counts_its_work_per_sample() -> None:
    X = np.ones((300, 6), np.float32)
    batch = MseBatch(X, X)
    plain, forgetting = (work_of_solving(batch, 2, RlsConfig(forgetting=f)) for f in (1.0, 0.9))
    assert plain <= INLINE_WORK < forgetting
