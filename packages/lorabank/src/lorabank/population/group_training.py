"""Adapters of groups, fine-tuned from the shared one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

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
    """

    id: str
    users: BoolArray
    trained: Trained


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
        users = members(ground.rows.keys, keys) & ground.rows.users_of(ground.liked)
        split = ground.split.within(users)
        if _smallest(split) >= trainer.prior.min_users:
            trained = trainer.train(ground, start, split, refining(trainer), lambda *_: None)
            recorder.losses[f"group {name}"] = trained.loss
            if trained.epochs:
                found.append(TrainedGroup(name, users, trained))
        recorder.tell("groups", f"group {name}", (number + 1) / len(groups))
    return found


def refining(trainer: Trainer) -> Schedule:
    """Gentler and shorter than the shared adapter's."""
    return Schedule(trainer.prior.refine_learning_rate, trainer.prior.refine_epochs)


def _smallest(split: Split) -> int:
    return min(int(part.sum()) for part in (split.fit, split.stop, split.proof))
