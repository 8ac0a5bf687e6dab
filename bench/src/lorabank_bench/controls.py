"""Controls among past users alone: whether they stay controls, looked at without any new user.

    python -m lorabank_bench.controls movielens --split temporal --seed 0 --seeds 3

What `lorabank evaluate` would call new users is taken away, with every row that is not before the
moment at which they begin (temporal), and the evaluation is run on what remains: the last of the
past users, or a fifth of them, stand in for the new ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lorabank.evaluation.methods.registry import METHODS
from lorabank.evaluation.report.pooling import Pool
from lorabank.evaluation.report.words import nats, share
from lorabank.evaluation.running import Run, run
from lorabank.evaluation.settings import SPLITS, EvaluateSettings
from lorabank.evaluation.sources.load import MOST_ROWS, load_dataset
from lorabank.evaluation.sources.repeats import without_repeats
from lorabank.evaluation.sources.table import Dataset
from lorabank.evaluation.splits import make_split

PAIRS = (("skills", "random_groups"), ("shuffled_bank", "skills"))
# Whose new users are taken away where users are split by chance.
OUTER_SEED = 0


def main() -> None:
    """Print each pair of methods with its intervals."""
    parser = argparse.ArgumentParser(description=__doc__, prog="lorabank_bench.controls")
    parser.add_argument("log", nargs="?", default="movielens")
    parser.add_argument("--split", choices=SPLITS, default="temporal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    settings = EvaluateSettings(split=given.split)
    data = load_dataset(
        given.log, None, like=None, most_rows=MOST_ROWS, seed=0, tell=lambda *_: None
    )
    past = past_of(without_repeats(data), settings)
    wanted = {key for pair in PAIRS for key in pair}
    methods = [method for method in METHODS if method.key in wanted]
    runs = [
        run(past, settings, seed, lambda *_: None, methods)
        for seed in range(given.seed, given.seed + given.seeds)
    ]
    sys.stdout.write("\n".join(lines(runs, settings)) + "\n")


def past_of(data: Dataset, settings: EvaluateSettings, seed: int = OUTER_SEED) -> Dataset:
    """The log without the new users of a seed, and without what happened once they had begun."""
    split = make_split(data, settings, seed)
    kept = ~np.isin(data.user, split.who)
    if split.cut is not None:
        kept &= data.time < split.cut
    return replace(
        data,
        user=data.user[kept],
        item=data.item[kept],
        liked=data.liked[kept],
        time=data.time[kept],
    )


def lines(runs: list[Run], settings: EvaluateSettings) -> Iterator[str]:
    """Per pair the difference, per method and seed what was kept."""
    pool = Pool(runs, settings.resamples, settings.horizon)
    for ours, theirs in PAIRS:
        a, b = pool.user_values(ours), pool.user_values(theirs)
        ranked = share(pool.resamples.relative(a["ndcg"], b["ndcg"]), 1)
        likely = nats(pool.resamples.difference(a["nll"], b["nll"]))
        yield f"{ours} vs {theirs}: nDCG@10 {ranked}, NLL {likely}"
    for found in runs:
        for key, outcome in found.outcomes.items():
            own = [name for name in outcome.choices if ":" in name or name.startswith("other")]
            yield f"seed {found.seed}, {key}: {', '.join(own) or 'nothing kept'}"


if __name__ == "__main__":
    main()
