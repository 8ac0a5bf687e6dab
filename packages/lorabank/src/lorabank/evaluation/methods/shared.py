"""What the bank shares, trained by the library itself on the same users as every other method."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lorabank.config import PopulationConfig, PriorConfig
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Scores
from lorabank.evaluation.sources.table import OnProgress
from lorabank.evaluation.views import View
from lorabank.numerics.lora import forward
from lorabank.population import (
    Population,
    PopulationReport,
    Rows,
    SharedAdapter,
    fit_population,
)
from lorabank.population.model import IDENTITY, POPULARITY, SHARED
from lorabank.skills.grouping import EVERYONE, group_users
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.space import EmbeddingSpace

GROUPS = 4
MIN_USERS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """``<y, e>`` with y from one adapter for everyone."""

    log_prior: FloatArray
    adapter: SharedAdapter | None
    bytes_per_user: float = 0.0

    def scores(self, view: View) -> Scores:
        """Inner products of the adapted contexts."""
        x = view.events.x
        y: FloatArray = x if self.adapter is None else forward(self.adapter.matrices, x)[0]

        def scores(rows: IntArray) -> FloatArray:
            values: FloatArray = y[rows] @ view.items.T
            return values

        return scores


def train(
    ground: Ground,
    config: PopulationConfig,
    prior: PriorConfig,
    *,
    groups: Mapping[str, Collection[str]] | None = None,
    items: IntArray | None = None,
    tell: OnProgress = lambda *_: None,
) -> tuple[Population, PopulationReport]:
    """A population of the past users: fitted on the fit users, chosen, calibrated and proved on
    the choose users. Nothing is trained again on the latter, as no other method is either.

    Args:
        ground: past users.
        config, prior: what to train.
        groups: id -> keys of users.
        items: (n,) targets to put in place of the real ones.
        tell: progress, in percent.
    """
    rows = past_rows(ground)
    if items is not None:
        rows = replace(rows, items=items)
    space = EmbeddingSpace("evaluation", ground.items.shape[1])
    tell("train", 0, 100)
    trained = fit_population(
        rows,
        ground.pool,
        config,
        space=space,
        prior=replace(prior, held_out=ground.settings.choose, refit=False),
        groups=groups,
        seed=ground.seed,
        on_progress=lambda now: tell("train", min(99, int(100 * now.done)) or 1, 100),
    )
    tell("train", 100, 100)
    return trained


def past_rows(ground: Ground) -> Rows:
    """Events of the fit users, then of the choose users, as the library's replay gives them.

    The library splits users by the last digits of their keys: these keys put them on the sides
    that they are on for every other method.
    """
    fit, choose = ground.fit.events, ground.choose.events
    user = np.concatenate([fit.user, choose.user + ground.fit.log.users])
    items = np.concatenate([fit.target, choose.target])
    present, dense = np.unique(user, return_inverse=True)
    keys = user_keys(ground)
    return Rows(
        x=np.concatenate([fit.x, choose.x]),
        target=None,
        items=items,
        reward=np.ones(len(user), np.float32),
        weight=np.ones(len(user), np.float32),
        user=dense.astype(np.int64),
        keys=tuple(keys[number] for number in present.tolist()),
        first=np.searchsorted(dense, np.arange(len(present) + 1)).astype(np.int64),
    )


def user_keys(ground: Ground) -> list[str]:
    """One key per past user; choose users alternate between those to stop by and to prove on."""
    share = ground.settings.choose
    sides = [(1 + share) / 2] * ground.fit.log.users
    sides += [share * (0.25 if n % 2 else 0.75) for n in range(ground.choose.log.users)]
    return [f"{n:024x}{int(side * 2**32):08x}" for n, side in enumerate(sides)]


def similar_groups(ground: Ground) -> dict[str, list[str]]:
    """Past users by their mean contexts, as the bank groups them."""
    keys = user_keys(ground)
    contexts = np.zeros((len(keys), ground.items.shape[1]))
    np.add.at(contexts, ground.fit.events.user, ground.fit.events.x)
    np.add.at(contexts, ground.choose.events.user + ground.fit.log.users, ground.choose.events.x)
    norm = np.linalg.norm(contexts, axis=1, keepdims=True)
    contexts /= np.where(norm > 0, norm, 1)
    return {
        group.name: [keys[member] for member in group.members]
        for group in group_users(contexts, GROUPS, MIN_USERS)
        if group.name != EVERYONE
    }


def random_groups(ground: Ground) -> dict[str, list[str]]:
    """Groups of the same sizes, of users drawn at random."""
    keys = user_keys(ground)
    shuffled = [keys[place] for place in ground.rng(2).permutation(len(keys))]
    drawn, begin = {}, 0
    for name, members in similar_groups(ground).items():
        drawn[name] = shuffled[begin : begin + len(members)]
        begin += len(members)
    return drawn


def shuffled_items(ground: Ground) -> IntArray:
    """Targets of the fit users in random order, each item standing for another one: as skewed as
    before, and saying neither who liked what nor what is popular.

    A table of items would learn popularity from any order of the targets, with more freedom than
    a power of the counts has: a gain, and none of the bank's. The choose users' targets are as they
    are: what was learned is calibrated, proved and trusted by how well it predicts real users, as
    every other method is.
    """
    rng = ground.rng(3)
    fit = rng.permutation(ground.fit.events.target)
    return np.concatenate([rng.permutation(len(ground.items))[fit], ground.choose.events.target])


def beside(shared: Population, other: Population) -> Population:
    """Popularity and the shared expert of one population, with all that another one learned."""
    adapters = tuple(replace(a, name=f"other {a.name}") for a in other.adapters)
    experts = tuple(
        replace(e, name=f"other {e.name}", adapter=e.adapter and f"other {e.adapter}")
        for e in other.experts
        if e.name not in (IDENTITY, POPULARITY)
    )
    own = tuple(e for e in shared.experts if e.name in (IDENTITY, POPULARITY, SHARED))
    return replace(
        other,
        adapters=(*(a for a in shared.adapters if a.name == SHARED), *adapters),
        experts=(*own, *experts),
    )
