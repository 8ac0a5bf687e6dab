"""Rankings lean by a table of their own, chosen by how it ranks what held-out users liked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.population.worlds import PRIOR, QUICK, World

from lorabank.config import ContrastiveConfig
from lorabank.population.ground import Ground, make_ground
from lorabank.population.neighbour_training import count
from lorabank.population.predictor import Predictor, ranks_of
from lorabank.population.tabling import TableChoice, build_table
from lorabank.population.tilting import SCALES, TARGETS, TILTS, Leaning, LeaningChooser
from lorabank.statistics.scores import ndcg, user_means

WORLD = World()
NEIGHBOURS = replace(QUICK.neighbours, decays=(0.85, 0.7), ranks=())
CONFIG = replace(QUICK, neighbours=NEIGHBOURS)


def ground_of(world: World) -> Ground:
    return make_ground(world.rows, world.pool, CONFIG, PRIOR, ContrastiveConfig())


def chosen(ground: Ground, predictor: Predictor) -> Leaning | None:
    counts = count(ground, ground.fit, CONFIG)
    held_out = ground.held_out
    return LeaningChooser(ground, counts, CONFIG, predictor, held_out, lambda: None).choose(0)


def identity(ground: Ground) -> Predictor:
    return Predictor(None, ground.pool.vectors).calibrated(ground, ground.stop)[0]


def gain(ground: Ground, predictor: Predictor, leaning: Leaning | None) -> float:
    """nDCG@10 of the held-out rows, all in one piece."""
    rows = ground.held_out
    logits = predictor.logits(ground, rows)
    if leaning is not None:
        near = leaning.table.log_scores(ground.recent(rows, leaning.table.window))
        logits = logits + np.float32(leaning.tilt) * near
    return float(
        user_means(ndcg(ranks_of(logits, ground.items(rows))), ground.rows.user[rows]).mean()
    )


def test_the_form_and_the_tilt_that_rank_best_are_taken() -> None:
    """First among the forms, then among the scales of the best."""
    ground = ground_of(WORLD)
    predictor = identity(ground)
    counts = count(ground, ground.fit, CONFIG)
    found = chosen(ground, predictor)
    assert found is not None
    forms = [
        TableChoice(decay=decay, backward=1.0, target=target)
        for decay in range(2)
        for target in TARGETS
    ]
    tried = {
        (choice, tilt): gain(
            ground, predictor, Leaning(choice, build_table(counts, choice, NEIGHBOURS), tilt)
        )
        for form in forms
        for choice in (form, *(replace(form, scale=scale) for scale in SCALES))
        for tilt in TILTS
    }
    best_form = max(forms, key=lambda form: max(tried[form, tilt] for tilt in TILTS))
    own = {key: value for key, value in tried.items() if replace(key[0], scale=1.0) == best_form}
    assert tried[found.choice, found.tilt] == max(own.values())
    assert tried[found.choice, found.tilt] > gain(ground, predictor, None) + 0.1


def test_rankings_stay_straight_where_no_table_ranks_better() -> None:
    """Pairs of too few users: tables are empty, and every tilt is as good as none."""
    ground = ground_of(WORLD)
    shy = replace(CONFIG, min_users=10_000)
    counts = count(ground, ground.fit, shy)
    assert not len(counts.common().low)
    chooser = LeaningChooser(ground, counts, shy, identity(ground), ground.held_out, lambda: None)
    assert chooser.choose(0) is None


def test_the_last_training_counts_everyone_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    form = TableChoice(decay=1, backward=1.0, target=0.25, scale=3.0)

    def choose(chooser: LeaningChooser, rank: int) -> Leaning:
        assert rank == 0
        return Leaning(form, build_table(chooser.counts, form, NEIGHBOURS), 0.8)

    monkeypatch.setattr(LeaningChooser, "choose", choose)
    for refit in (False, True):
        population, report = WORLD.fit(config=CONFIG, prior=replace(PRIOR, refit=refit))
        assert population.lean is not None
        assert (population.tilt, report.choices["lean.tilt"]) == (0.8, 0.8)
        ground = ground_of(WORLD)
        ground = ground.with_everyone() if refit else ground
        expected = build_table(count(ground, ground.fit, CONFIG), form, NEIGHBOURS)
        np.testing.assert_array_equal(population.lean.items, expected.items)
        np.testing.assert_array_equal(population.lean.weights, expected.weights)
