"""The mixture on real users: nothing was chosen on them."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from tests.support.expert_replay import pool_of, rows_of, travel

from lorabank.config import EngineConfig
from lorabank.demo.data import load
from lorabank.demo.protocol import make_protocol
from lorabank.demo.settings import DemoSettings
from lorabank.experts import BoundExperts
from lorabank.population import fit_population
from lorabank.types.hyperparameters import Hyperparameters

SETTINGS = Hyperparameters(learning_rate=0.03, clip_threshold=1.0)
EVENTS = 40


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_new_user_of_movielens(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """One event at a time; exact losses over the catalogue without what the user has had."""
    data = load()
    protocol = make_protocol(data, DemoSettings(seed=seed))
    past, new = protocol.split.past, np.sort(protocol.split.new)
    pool = pool_of(protocol, past)
    rows = rows_of(protocol, past)
    population, _ = fit_population(rows, pool, space=data.space, seed=seed)
    config = EngineConfig(data.space, objective="contrastive", defaults=SETTINGS)
    experts = BoundExperts(population, pool)
    users = [user for user in new.tolist() if (protocol.events.user == user).any()]
    journeys = [travel(protocol, user, experts, config, most=EVENTS) for user in users]
    bound = math.log(1 / config.mixture.identity_weight)
    means = np.array([journey.losses.mean(axis=0) for journey in journeys])
    best = int(means[:, :-1].mean(axis=0).argmin())
    over_best = means[:, -1] - means[:, best]
    error = over_best.std(ddof=1) / len(users) ** 0.5
    exact = [(j.losses[:, -1] - j.losses[:, 0]).cumsum().max() for j in journeys]
    names = (*experts.names, "mixture")
    lines = [f"seed {seed}: {len(users)} users, nats per event, mean over users"]
    lines += [f"  {m:.4f}  {name}" for name, m in zip(names, means.mean(axis=0), strict=True)]
    lines += [
        f"  excess over the identity at any moment, bound {bound:.3f}:",
        f"    as reported {max(j.excess for j in journeys):.3f}, exact {max(exact):.3f}",
        f"  over {names[best]}: {over_best.mean():+.4f} +- {error:.4f}",
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert max(j.excess for j in journeys) <= bound + 1e-6
    assert over_best.mean() <= 2 * error
    assert (means[:, -1] < means[:, 0]).mean() > 0.8
