"""Adapters of groups, fine-tuned from the shared one; each beside a control of users at random.

Whatever is trained for longer and on fewer users differs from its parent. Only what beats an
adapter that was trained in the same way on as many *other* users owes it to the group.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lorabank.population.ground import Ground
from lorabank.population.predictor import Predictor
from lorabank.population.recorder import Recorder
from lorabank.population.rows import Split, members
from lorabank.population.shared import Trained, Trainer
from lorabank.population.training import Schedule
from lorabank.types.arrays import BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class TrainedGroup:
    """A group whose own users were better off with more training.

    Attributes:
        id: as given.
        users: (users,) who is in it.
        trained: the epoch that its held-out users liked best, at least the first.
        control: of as many users drawn at random, the epoch that the group's held-out users liked
            best; its parent where they liked none.
    """

    id: str
    users: BoolArray
    trained: Trained
    control: Trained


def train_groups(
    trainer: Trainer,
    ground: Ground,
    start: Predictor,
    groups: Mapping[str, Collection[str]],
    recorder: Recorder,
) -> list[TrainedGroup]:
    """Fine-tune each group that has users enough to train, to stop by and to prove on.

    Args:
        trainer: the one of the shared adapter.
        ground: of the training.
        start: the shared adapter with everything that is known about items.
        groups: id -> keys of its users.
        recorder: told of each group.
    """
    found = []
    for number, (name, keys) in enumerate(sorted(groups.items())):
        users = members(ground.rows.keys, keys) & ground.rows.users_of(ground.predicted)
        split = ground.split.within(users)
        if _smallest(split) >= trainer.prior.min_users:
            trained = _refined(trainer, ground, start, split)
            recorder.losses[f"group {name}"] = trained.loss
            if trained.epochs:
                anyone = _as_many_at_random(ground, split.fit, [trainer.seed, 3, number])
                control = _refined(trainer, ground, start, replace(split, fit=anyone))
                found.append(TrainedGroup(name, users, trained, control))
        recorder.tell("groups", f"group {name}", (number + 1) / len(groups))
    return found


def refining(trainer: Trainer) -> Schedule:
    """Gentler and shorter than the shared adapter's."""
    return Schedule(trainer.prior.refine_learning_rate, trainer.prior.refine_epochs)


def _refined(trainer: Trainer, ground: Ground, start: Predictor, split: Split) -> Trained:
    return trainer.train(ground, start, split, refining(trainer), lambda *_: None)


def _as_many_at_random(ground: Ground, users: BoolArray, seed: list[int]) -> BoolArray:
    """As many of the fitted users as are in ``users``, drawn by chance."""
    pool = np.flatnonzero(ground.split.fit & ground.rows.users_of(ground.predicted))
    drawn = np.random.default_rng(seed).choice(pool, int(users.sum()), replace=False)
    chosen: BoolArray = np.zeros(len(users), np.bool_)
    chosen[drawn] = True
    return chosen


def _smallest(split: Split) -> int:
    return min(int(part.sum()) for part in (split.fit, split.stop, split.proof))
