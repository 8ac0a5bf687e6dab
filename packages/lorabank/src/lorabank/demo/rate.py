"""The learning rate of the online updates: chosen on past users, anew in every run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lorabank.adaptation.step import Decision, adapt, prepare
from lorabank.adapter import Adapter, lora_scale
from lorabank.config import EngineConfig
from lorabank.demo.protocol import Protocol
from lorabank.demo.settings import DemoSettings
from lorabank.evaluation.events import Events
from lorabank.numerics.batch import Batch
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices, initial_matrices
from lorabank.population.rows import Rows
from lorabank.population.tasks import ContrastiveTask
from lorabank.population.training import Schedule, fit_epochs
from lorabank.types.arrays import IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool
from lorabank.types.weights import Weights

# A quarter of the past users judges; the others train what those start from.
JUDGES = 0.25
# Enough for weights like those that new users will start from; the real training comes later.
EPOCHS = 3
# Of each judge: what a rate does shows in the first updates.
BATCHES = 8


@dataclass(frozen=True, slots=True)
class _Start:
    """Weights that judges start from, with their calibration."""

    matrices: Matrices
    calibration: Calibration


def choose_rate(protocol: Protocol, settings: DemoSettings, config: EngineConfig) -> float:
    """The rate of ``settings.online_rates`` with the lowest mean loss before updates, by user.

    Judges start from weights trained on the other past users, and learn batch by batch with each
    rate; what counts is the loss on a batch that was not learned yet, from the second batch on.
    All rates meet the same negatives. Of equal rates the smaller wins. Takes seconds: call it in a
    worker thread.

    Args:
        protocol: of the run; new users are not looked at.
        settings: of the run; without rates to choose from, its default stays.
        config: of the engine that will run with it.
    """
    if not settings.online_rates:
        return settings.online.learning_rate
    rng = np.random.default_rng([settings.seed, 5])
    shuffled = rng.permutation(protocol.split.past)
    judges, fit = np.split(shuffled, [round(JUDGES * len(shuffled))])
    counts = protocol.log.counts(fit, len(protocol.items))
    pool = ItemPool(protocol.items, counts, sampling_power=1.0)
    start = _train(protocol.events.of_users(fit), pool, config, rng)
    rates = sorted(settings.online_rates)
    losses = [
        _losses(protocol.events, user, start, rates, settings, config, pool, rng)
        for user in np.sort(judges)
    ]
    means = np.mean([row for row in losses if row is not None], axis=0)
    return rates[int(np.argmin(means))]


def _train(
    events: Events, pool: ItemPool, config: EngineConfig, rng: np.random.Generator
) -> _Start:
    """A prior on some users' events, as consolidation would train it but shorter."""
    rows = as_rows(events)
    contrastive = replace(config.contrastive, negatives=config.prior.negatives)
    task = ContrastiveTask(rows, pool, contrastive)
    scale = lora_scale(config.effective_alpha, config.rank, config.scaling)
    start = Matrices(*initial_matrices(rng, config.rank, config.space.dim), scale)
    positions = np.arange(len(rows))
    schedule = Schedule(config.prior.learning_rate, EPOCHS)
    *_, m = fit_epochs(task, start, positions, schedule, config.prior, rng)
    return _Start(m, task.calibrate(m, positions))


def as_rows(events: Events) -> Rows:
    """Events as rows to train on, sorted by user."""
    names, user = np.unique(events.user, return_inverse=True)
    ones = np.ones(len(events), np.float32)
    return Rows(
        x=events.x,
        target=None,
        items=events.target,
        reward=ones,
        weight=ones,
        user=user,
        keys=tuple(map(str, names)),
        first=np.searchsorted(user, np.arange(len(names) + 1)),
    )


def _losses(
    events: Events,
    user: int,
    start: _Start,
    rates: Sequence[float],
    settings: DemoSettings,
    config: EngineConfig,
    pool: ItemPool,
    rng: np.random.Generator,
) -> list[float] | None:
    """Mean loss per rate, from the second batch on; None if the user has but one."""
    rows = np.flatnonzero(events.user == user)
    cuts = range(settings.batch, len(rows), settings.batch)
    parts = np.split(rows, list(cuts))[:BATCHES]
    if len(parts) < 2:
        return None
    adapter = _adapter(start, config)
    batches = [prepare(adapter, _feedback(events, part), config, pool, rng) for part in parts]
    return [_loss_of(adapter, batches, rate, config) for rate in rates]


def _loss_of(
    adapter: Adapter, batches: Sequence[Batch], rate: float, config: EngineConfig
) -> float:
    decision = Decision(replace(config.defaults, learning_rate=rate))
    unused = np.random.default_rng(0)  # without trials a step draws nothing
    seen = []
    for batch in batches:
        result = adapt(adapter, batch, decision, config, unused, time.perf_counter)
        seen.append(result.loss_before)
        adapter = result.adapter
    return float(np.mean(seen[1:]))


def _adapter(start: _Start, config: EngineConfig) -> Adapter:
    return Adapter(
        user_id="judge",
        weights=Weights(start.matrices.A, start.matrices.B),
        alpha=config.effective_alpha,
        scaling=config.scaling,
        objective=config.objective,
        space=config.space,
        tau=start.calibration.tau,
        prior_weight=start.calibration.prior_weight,
    )


def _feedback(events: Events, rows: IntArray) -> Feedback:
    return Feedback(events.x[rows], items=events.target[rows])
