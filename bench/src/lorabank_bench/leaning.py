"""Rankings among past users alone: leaning and straight, beside item-kNN, without any new user.

    python -m lorabank_bench.leaning movielens --seed 100 --seeds 3

Of each seed, what `lorabank evaluate` would call new users is taken away, and the evaluation is run
on what remains: a fifth of the past users (or the last of them) stand in for the new ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

from lorabank.evaluation.methods.mixture import Mixed, fit_mixture
from lorabank.evaluation.methods.registry import EVERYTHING, METHODS, Method
from lorabank.evaluation.methods.workshop import Workshop
from lorabank.evaluation.report.pooling import Pool
from lorabank.evaluation.report.words import nats, share
from lorabank.evaluation.running import Run, run
from lorabank.evaluation.settings import SPLITS, EvaluateSettings
from lorabank.evaluation.sources.load import MOST_ROWS, load_dataset
from lorabank.evaluation.sources.repeats import without_repeats
from lorabank_bench.controls import past_of

STRAIGHT = "straight"
BESIDE = ("knn_popularity", "knn_shared", "common_knn_shared", STRAIGHT)


def main() -> None:
    """Print how everything ranks against each, with intervals."""
    parser = argparse.ArgumentParser(description=__doc__, prog="lorabank_bench.leaning")
    parser.add_argument("log", nargs="?", default="movielens")
    parser.add_argument("--split", choices=SPLITS, default="users")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    settings = EvaluateSettings(split=given.split)
    data = without_repeats(
        load_dataset(given.log, None, like=None, most_rows=MOST_ROWS, seed=0, tell=lambda *_: None)
    )
    runs = [
        run(past_of(data, settings, seed), settings, seed, lambda *_: None, methods())
        for seed in range(given.seed, given.seed + given.seeds)
    ]
    sys.stdout.write("\n".join(lines(runs, settings)) + "\n")


def methods() -> list[Method]:
    """What is compared."""
    known = [method for method in METHODS if method.key in (*BESIDE, EVERYTHING)]
    return [*known, Method(STRAIGHT, "everything, straight", True, fit_straight)]


def fit_straight(workshop: Workshop) -> Mixed:
    """Everything, ranked by its probabilities."""
    return fit_mixture(workshop.ground, replace(workshop.full, lean=None, tilt=0.0))


def lines(runs: list[Run], settings: EvaluateSettings) -> Iterator[str]:
    """Everything against each of the others; per seed, how far it leans."""
    pool = Pool(runs, settings.resamples, settings.horizon)
    ours = pool.user_values(EVERYTHING)
    for key in BESIDE:
        theirs = pool.user_values(key)
        ranked = share(pool.resamples.relative(ours["ndcg"], theirs["ndcg"]), 1)
        likely = nats(pool.resamples.difference(ours["nll"], theirs["nll"]))
        yield f"{EVERYTHING} vs {key}: nDCG@10 {ranked}, NLL {likely}"
    for found in runs:
        users = len(found.split.who)
        yield f"seed {found.seed}: {users} users, tilt {found.outcomes[EVERYTHING].choices['tilt']}"


if __name__ == "__main__":
    main()
