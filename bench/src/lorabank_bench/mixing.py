"""What a mixture is made of: each expert alone, as far as it is trusted, and all of them mixed.

    python -m lorabank_bench.mixing interactions.csv items.csv --quick --seed 100 --seeds 2

Of each seed, on the users that `lorabank evaluate` calls new: mean NLL of each expert, its gain on
the identity there and on held-out users, and the weight that it starts with; then the mixture
minus the best of them, and minus the evaluation's own shared adapter, which is trained twice as
long as the mixture's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lorabank import MixtureConfig
from lorabank.evaluation.ground import make_ground
from lorabank.evaluation.measures.bound import best_single
from lorabank.evaluation.measures.compare import draw
from lorabank.evaluation.measures.events import measure
from lorabank.evaluation.methods.mixture import Mixed, fit_mixture
from lorabank.evaluation.methods.parts import fit_shared
from lorabank.evaluation.methods.workshop import Workshop
from lorabank.evaluation.report.words import nats
from lorabank.evaluation.settings import EvaluateSettings, quick
from lorabank.evaluation.sources.load import MOST_ROWS, load_dataset
from lorabank.evaluation.sources.repeats import without_repeats
from lorabank.evaluation.sources.table import Dataset
from lorabank.evaluation.splits import make_split
from lorabank.evaluation.views import View, make_view
from lorabank.statistics.scores import user_means
from lorabank.types.arrays import AnyFloatArray


def main() -> None:
    """Print a table per seed."""
    parser = argparse.ArgumentParser(description=__doc__, prog="lorabank_bench.mixing")
    parser.add_argument("log")
    parser.add_argument("items", nargs="?")
    parser.add_argument("--like", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=2)
    default = MixtureConfig()
    parser.add_argument("--identity-weight", type=float, default=default.identity_weight)
    given = parser.parse_args()
    mixture = replace(default, identity_weight=given.identity_weight)
    settings = quick(EvaluateSettings()) if given.quick else EvaluateSettings()
    data = without_repeats(
        load_dataset(
            given.log,
            given.items,
            like=given.like,
            most_rows=MOST_ROWS,
            seed=0,
            tell=lambda *_: None,
        )
    )
    for seed in range(given.seed, given.seed + given.seeds):
        sys.stdout.write("\n".join(lines(data, settings, seed, mixture)) + "\n")


def lines(
    data: Dataset, settings: EvaluateSettings, seed: int, mixture: MixtureConfig
) -> Iterator[str]:
    """One seed."""
    split = make_split(data, settings, seed)
    workshop = Workshop(make_ground(split, data.vectors, settings, seed, data.clock))
    view = make_view(
        split.new,
        data.vectors,
        window=settings.window,
        decay=settings.decay,
        most=settings.events_per_user,
    )
    mixed, shared = fit_mixture(workshop.ground, workshop.full), fit_shared(workshop)
    mixed = replace(mixed, config=replace(mixed.config, mixture=mixture))
    user = view.events.user
    ours = user_means(measure(view, mixed.logits(view)).nll, user)
    draws = draw(np.unique(user), settings.resamples)
    yield f"seed {seed}: {len(ours)} new users, {len(view)} events"
    yield from _experts(mixed, view)
    yield f"  {ours.mean():.4f}  mixture"
    best = best_single(mixed, view)
    alone = user_means(best.nll, user)
    yield f"  mixture minus {best.name}: {nats(draws.difference(ours, alone), 4)}"
    longer = user_means(measure(view, shared.logits(view)).nll, user)
    yield f"  mixture minus `shared`: {nats(draws.difference(ours, longer), 4)}"
    yield f"  the best minus `shared`: {nats(draws.difference(alone, longer), 4)}"


def _experts(mixed: Mixed, view: View) -> Iterator[str]:
    losses = -mixed.replay(view).likelihoods
    means: list[AnyFloatArray] = [user_means(alone, view.events.user) for alone in losses.T]
    held_out = [f"{expert.gain:+.3f}" for expert in mixed.experts.experts]
    for name, mean, gain, weight in zip(
        mixed.experts.names, means, [*held_out, ""], mixed.experts.prior, strict=True
    ):
        found = (means[0] - mean).mean()
        yield f"  {mean.mean():.4f}  {name}: gains {found:+.3f} (held out {gain}), {weight:.3f}"


if __name__ == "__main__":
    main()
