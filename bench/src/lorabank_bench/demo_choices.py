"""What the demo's prior is trained with, compared on past users alone.

    python -m lorabank_bench.demo_choices --seed 6 --seed 7 --seed 8

For each seed a quarter of the past users judges weights that were trained on the others; new users
are not looked at. One setting at a time is changed. The rule, fixed before the first run: the
setting with the lowest mean NLL over the seeds is chosen, unless the present one is within one
standard error (of the paired differences over judges) of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lorabank.adapter import lora_scale
from lorabank.demo.data import Data, load
from lorabank.demo.make import one_blas_thread
from lorabank.demo.protocol import Protocol, make_protocol
from lorabank.demo.rate import JUDGES, as_rows
from lorabank.demo.settings import DemoSettings, engine_config
from lorabank.demo.tuning import tune
from lorabank.evaluation.metrics import score_events
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices, forward, initial_matrices
from lorabank.population.tasks import ContrastiveTask
from lorabank.population.training import Schedule, fit_epochs
from lorabank.statistics.scores import ndcg, user_means
from lorabank.types.arrays import AnyFloatArray
from lorabank.types.items import ItemPool

# (rank, peak learning rate, epochs); the first is what the demo uses.
SETTINGS = (
    (32, 1e-2, 6),
    (16, 1e-2, 6),
    (64, 1e-2, 6),
    (32, 5e-3, 6),
    (32, 2e-2, 6),
    (32, 1e-2, 4),
    (32, 1e-2, 8),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, action="append", required=True)
    seeds = parser.parse_args(arguments).seed
    data = load()
    with one_blas_thread():
        judged = [judge(data, seed) for seed in seeds]
    sys.stdout.write(
        "| rank | learning rate | epochs | NLL | against the present one | nDCG@10 |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for number, (rank, rate, epochs) in enumerate(SETTINGS):
        nll = np.concatenate([seed[number][0] for seed in judged])
        gain = nll - np.concatenate([seed[0][0] for seed in judged])
        places = np.concatenate([seed[number][1] for seed in judged])
        error = gain.std(ddof=1) / len(gain) ** 0.5
        against = f"{gain.mean():+.4f} ± {error:.4f}"
        row = (rank, f"{rate:g}", epochs, f"{nll.mean():.4f}", against, f"{places.mean():.4f}")
        sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")


def judge(data: Data, seed: int) -> list[tuple[AnyFloatArray, AnyFloatArray]]:
    """Per setting (NLL, nDCG@10), each one number per judge."""
    settings = DemoSettings(seed=seed)
    protocol = make_protocol(data, settings)
    identity = tune(protocol, settings).identity
    return [
        _judge(data, protocol, replace(settings, rank=rank), identity, rate, epochs)
        for rank, rate, epochs in SETTINGS
    ]


def _judge(
    data: Data,
    protocol: Protocol,
    settings: DemoSettings,
    identity: Calibration,
    rate: float,
    epochs: int,
) -> tuple[AnyFloatArray, AnyFloatArray]:
    config = engine_config(settings, data.space, identity, "choices")
    rng = np.random.default_rng([settings.seed, 6])
    shuffled = rng.permutation(protocol.split.past)
    judges, fit = np.split(shuffled, [round(JUDGES * len(shuffled))])
    pool = ItemPool(data.vectors, protocol.log.counts(fit, len(data.vectors)), sampling_power=1.0)
    negatives = replace(config.contrastive, negatives=config.prior.negatives)
    task = ContrastiveTask(as_rows(protocol.events.of_users(fit)), pool, negatives)
    scale = lora_scale(config.effective_alpha, config.rank, config.scaling)
    start = Matrices(*initial_matrices(rng, config.rank, config.space.dim), scale)
    positions = np.arange(len(task.rows))
    *_, m = fit_epochs(task, start, positions, Schedule(rate, epochs), config.prior, rng)
    events = protocol.events.of_users(judges)
    held = ContrastiveTask(as_rows(events), pool, negatives)
    calibration = held.calibrate(m, np.arange(len(held.rows)))
    served = forward(m, events.x)[0]
    scores = score_events(protocol.log, events, served, pool.vectors, pool.log_prior, calibration)
    return user_means(scores.nll, events.user), user_means(ndcg(scores.rank), events.user)


if __name__ == "__main__":
    main()
