"""What the bank shares, trained by the library itself on the same users as every other method."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

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
from lorabank.population.rows import split_users
from lorabank.skills.grouping import EVERYONE, group_users
from lorabank.types.arrays import BoolArray, FloatArray, IntArray
from lorabank.types.items import ItemPool
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
        items: (M,) of all of `past_rows`, to put in place of the real ones.
        tell: progress, in percent.
    """
    rows = past_rows(ground)
    if items is not None:
        rows = replace(rows, items=items)
    space = EmbeddingSpace("evaluation", ground.items.shape[1])
    tell("train", 0, 100)
    trained = fit_population(
        rows,
        past_pool(ground, rows),
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
    """What the fit users, then the choose users had, up to each one's last event.

    Events are learned from. What else was there (a first like, for which there is no context yet;
    what was had and not liked) is merely known (weight 0): new users are not offered it again, and
    look back at their first like too, so the same has to hold for those who are learned from.

    The library splits users by the last digits of their keys: these keys put them on the sides
    that they are on for every other method.
    """
    fit, choose = _history(ground.fit), _history(ground.choose)
    user = np.concatenate([fit.user, choose.user + ground.fit.log.users])
    present, dense = np.unique(user, return_inverse=True)
    keys = user_keys(ground)
    return Rows(
        x=np.concatenate([fit.x, choose.x]),
        target=None,
        items=np.concatenate([fit.item, choose.item]),
        reward=np.concatenate([fit.liked, choose.liked]).astype(np.float32),
        weight=np.concatenate([fit.predicted, choose.predicted]).astype(np.float32),
        user=dense.astype(np.int64),
        keys=tuple(keys[number] for number in present.tolist()),
        first=np.searchsorted(dense, np.arange(len(present) + 1)).astype(np.int64),
    )


def past_pool(ground: Ground, rows: Rows) -> ItemPool:
    """The catalogue with the popularity of all past users, as the library is given it: it takes
    the likes of those whom it holds out from the counts by itself, and is left with `Ground.pool`.
    """
    assert rows.items is not None
    held_out = ~split_users(rows.keys, ground.settings.choose).fit[rows.user] & (rows.reward > 0)
    more = np.bincount(rows.items[held_out], minlength=len(ground.items))
    return ItemPool(ground.items, ground.counts + more)


class _History(NamedTuple):
    """Rows (m,) of a log: whose, of which item, and whether liked and to be predicted; contexts
    (m, dim), zero for what is merely known."""

    user: IntArray
    item: IntArray
    liked: BoolArray
    predicted: BoolArray
    x: FloatArray


def _history(view: View) -> _History:
    """What each user of the view's events had, up to the last of them."""
    log, events = view.log, view.events
    rows = log.first[events.user] + events.seen
    end = np.zeros(log.users, np.int64)
    np.maximum.at(end, events.user, rows + 1)
    kept = np.flatnonzero(np.arange(len(log.user)) < end[log.user])
    place = np.searchsorted(kept, rows)
    predicted = np.zeros(len(kept), np.bool_)
    predicted[place] = True
    x = np.zeros((len(kept), view.items.shape[1]), np.float32)
    x[place] = events.x
    return _History(log.user[kept], log.item[kept], log.liked[kept], predicted, x)


def user_keys(ground: Ground) -> list[str]:
    """One key per past user; choose users alternate between those to stop by and to prove on."""
    share = ground.settings.choose
    sides = [(1 + share) / 2] * ground.fit.log.users
    proving = proves(np.arange(ground.choose.log.users)).tolist()
    sides += [share * (0.75 if mine else 0.25) for mine in proving]
    return [f"{n:024x}{int(side * 2**32):08x}" for n, side in enumerate(sides)]


def proves(choose_users: IntArray) -> BoolArray:
    """(n,) whether the library proves on each of the choose users; it stops by the others."""
    mine: BoolArray = choose_users % 2 == 0
    return mine


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
    """What the fit users had in random order, each item standing for another one: as skewed as
    before, and saying neither who liked what nor what is popular.

    A table of items would learn popularity from any order of the targets, with more freedom than
    a power of the counts has: a gain, and none of the bank's. The choose users' targets are as they
    are: what was learned is calibrated, proved and trusted by how well it predicts real users, as
    every other method is.
    """
    rng = ground.rng(3)
    fit, choose = _history(ground.fit).item, _history(ground.choose).item
    return np.concatenate([rng.permutation(len(ground.items))[rng.permutation(fit)], choose])


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
