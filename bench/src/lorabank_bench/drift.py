"""A change of taste where a user's own weights do move: what is forgotten, what is learned.

    python -m lorabank_bench.drift movielens --seed 0 --seeds 5

A stream of one taste is made of real events: likes of items from one part of the catalogue (by
k-means of their text vectors), of users drawn by chance, each with that user's own context before
it; then as many of another part. An adapter that starts as the identity learns both with the
library's defaults, without a population, ten events at a time. Before and after the second taste,
events of both that it never learns are predicted over the whole catalogue.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lorabank.adaptation.step import Decision, adapt, prepare
from lorabank.adapter import Adapter
from lorabank.config import EngineConfig, EwcConfig
from lorabank.engine.starting import identity_adapter
from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.sources.load import MOST_ROWS, load_dataset
from lorabank.evaluation.splits import make_split
from lorabank.evaluation.views import View, make_view
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.items import ItemPool
from lorabank.types.space import EmbeddingSpace

PARTS, ROUNDS = 4, 20
BATCH, JUDGED = 10, 300


@dataclass(frozen=True, slots=True)
class Journey:
    """Mean NLL on events that are never learned."""

    old_before: float
    old_after: float
    new_before: float
    new_after: float


def main() -> None:
    """Print a table; one line per strength of EWC."""
    parser = argparse.ArgumentParser(description=__doc__, prog="lorabank_bench.drift")
    parser.add_argument("log", nargs="?", default="movielens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--events", type=int, default=600, help="of each taste")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 1.0, 10.0, 100.0])
    parser.add_argument("--anchor-every", type=int, default=EwcConfig().anchor_every)
    parser.add_argument("--any-context", action="store_true", help="contexts of other tastes, too")
    given = parser.parse_args()
    ewc = EwcConfig(anchor_every=given.anchor_every)
    data = load_dataset(
        given.log, None, like=None, most_rows=MOST_ROWS, seed=0, tell=lambda *_: None
    )
    found: dict[float, list[Journey]] = {strength: [] for strength in given.strengths}
    for seed in range(given.seed, given.seed + given.seeds):
        settings = EvaluateSettings()
        log = make_split(data, settings, seed).fit
        view = make_view(log, data.vectors, window=settings.window, decay=settings.decay)
        counts = np.bincount(log.item[log.liked], minlength=len(data.vectors))
        pool = ItemPool(data.vectors, counts)
        rng = np.random.default_rng([seed, 40])
        streams = [rows[: given.events + JUDGED] for rows in tastes(view, rng, given.any_context)]
        for strength, journeys in found.items():
            journeys.append(travel(view, pool, streams, strength, seed, ewc))
    sys.stdout.write("\n".join(table(found)) + "\n")


def tastes(view: View, rng: np.random.Generator, any_context: bool) -> list[IntArray]:
    """Rows of events of the two largest parts of the catalogue, in random order."""
    part, centres = k_means(view.items, rng)
    # A taste shows in what the user liked before as well, or no context could tell the two apart.
    context = (view.events.x @ centres.T).argmax(axis=1)
    part = part[view.events.target]
    if not any_context:
        part = np.where(part == context, context, PARTS)
    largest = np.argsort(-np.bincount(part)[:PARTS], kind="stable")[:2]
    return [rng.permutation(np.flatnonzero(part == p)) for p in rng.permutation(largest)]


def k_means(vectors: FloatArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    """(N,) number of each item's part, by cosine, and the parts' centres."""
    centres = vectors[rng.choice(len(vectors), PARTS, replace=False)]
    for _ in range(ROUNDS):
        part: IntArray = (vectors @ centres.T).argmax(axis=1).astype(np.int64)
        sums = np.array([vectors[part == p].sum(axis=0) for p in range(PARTS)])
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return part, centres


def travel(
    view: View, pool: ItemPool, streams: list[IntArray], strength: float, seed: int, ewc: EwcConfig
) -> Journey:
    """One taste, then the other."""
    space = EmbeddingSpace("drift", pool.dim)
    defaults = Hyperparameters(ewc_strength=strength)
    config = EngineConfig(space, objective="contrastive", defaults=defaults, seed=seed, ewc=ewc)
    adapter = identity_adapter(config, "user", np.random.default_rng(seed))
    losses: list[list[float]] = []
    for rows in streams:
        learned = rows[:-JUDGED]
        for begin in range(0, len(learned), BATCH):
            part = learned[begin : begin + BATCH]
            feedback = Feedback(view.events.x[part], items=view.events.target[part])
            rng = np.random.default_rng([seed, adapter.version])
            batch = prepare(adapter, feedback, config, pool, rng)
            adapter = adapt(adapter, batch, Decision(defaults), config, rng, float).adapter
        losses.append([loss(view, pool, adapter, other[-JUDGED:]) for other in streams])
    (old_before, new_before), (old_after, new_after) = losses
    return Journey(old_before, old_after, new_before, new_after)


def loss(view: View, pool: ItemPool, adapter: Adapter, rows: IntArray) -> float:
    """Mean NLL over the whole catalogue."""
    y = adapter.transform(view.events.x[rows])
    logits = adapter.tau * (y @ pool.vectors.T) + adapter.prior_weight * pool.log_prior
    chosen = logits[np.arange(len(rows)), view.events.target[rows]]
    return float((log_sum_exp(logits.astype(np.float64)) - chosen).mean())


def table(found: dict[float, list[Journey]]) -> Iterator[str]:
    """Markdown; intervals are of the mean over seeds (two standard errors)."""
    yield "| EWC strength | old slice, after / before | gain on the new slice | of that without |"
    yield "|---|---|---|---|"
    free = np.array([j.new_before - j.new_after for j in next(iter(found.values()))])
    for strength, journeys in found.items():
        ratio = np.array([j.old_after / j.old_before for j in journeys])
        gain = np.array([j.new_before - j.new_after for j in journeys])
        kept = gain.mean() / free.mean()
        name = f"{strength:g}" + (" (default)" if strength == 0 else "")
        yield f"| {name} | {spread(ratio)}x | {spread(gain)} | {100 * kept:.0f} % |"


def spread(values: FloatArray) -> str:
    """Mean, and two standard errors."""
    error = 2 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} +- {error:.3f}"


if __name__ == "__main__":
    main()
