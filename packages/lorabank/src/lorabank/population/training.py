"""Training of prior weights: minibatch Adam with early stopping on held-out users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lorabank.config import PriorConfig
from lorabank.numerics.adam import Adam, cosine_rate
from lorabank.numerics.clipping import clip_jointly
from lorabank.numerics.lora import Matrices
from lorabank.population.tasks import Task
from lorabank.turns import give_way
from lorabank.types.arrays import IntArray

# Far above any healthy gradient: it only keeps one odd minibatch from wrecking Adam's moments.
CLIP = 100.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Peak learning rate and number of epochs."""

    learning_rate: float
    epochs: int


def fit_epochs(
    task: Task,
    start: Matrices,
    positions: IntArray,
    schedule: Schedule,
    config: PriorConfig,
    rng: np.random.Generator,
    check: Callable[[], object] = lambda: None,
) -> Iterator[Matrices]:
    """Train on the rows at ``positions``, giving the weights after each epoch.

    The learning rate falls to zero along a cosine over all epochs. ``check`` is called before each
    minibatch, and may raise.
    """
    adam, m, step = Adam(), start, 0
    total = schedule.epochs * -(-len(positions) // config.batch)
    for _ in range(schedule.epochs):
        order = rng.permutation(positions)
        for begin in range(0, len(order), config.batch):
            check()
            give_way()
            batch = task.minibatch(order[begin : begin + config.batch], rng)
            give_way()
            _, dA, dB = batch.gradient(m)
            give_way()
            clip_jointly(dA, dB, CLIP)
            rate = cosine_rate(schedule.learning_rate, step, total)
            step_A, step_B = adam.update((dA, dB), rate)
            m = m.with_matrices(m.A + step_A, m.B + step_B)
            step += 1
        yield m
