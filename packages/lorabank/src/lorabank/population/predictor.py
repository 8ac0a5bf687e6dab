"""An expert in the making: its parts at hand, its weights still to be fitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from lorabank.numerics.contrastive import log_sum_exp
from lorabank.numerics.loglinear import ChoiceEvents, fit_log_linear
from lorabank.numerics.lora import Matrices, forward
from lorabank.population.ground import Ground
from lorabank.population.neighbours import ItemToItem
from lorabank.population.transitions import Transitions
from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray

Feature: TypeAlias = Literal[
    "tau", "prior_weight", "bias_weight", "neighbour_weight", "transition_weight"
]
START: dict[Feature, float] = {
    "tau": 4.0,
    "prior_weight": 1.0,
    "bias_weight": 1.0,
    "neighbour_weight": 1.0,
    "transition_weight": 1.0,
}
LOWER: dict[Feature, float] = {
    "tau": 0.0,
    "prior_weight": -np.inf,
    "bias_weight": 0.0,
    "neighbour_weight": 0.0,
    "transition_weight": 0.0,
}
# Elements of all features of the rows to choose by that may be held instead of made anew: 512 MiB.
HELD = 1 << 27


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """Parts of a log-linear expert.

    Attributes:
        matrices: of its adapter, or None for the identity.
        vectors: (N, dim), ``e`` or ``e + v``; None leaves the similarity out.
        bias: (N,), or None.
        neighbours: or None.
        transitions: or None; only beside ``vectors``.
        weights: of its features.
    """

    matrices: Matrices | None
    vectors: FloatArray | None
    bias: FloatArray | None = None
    neighbours: ItemToItem | None = None
    transitions: Transitions | None = None
    weights: tuple[float, ...] | None = None

    @property
    def names(self) -> tuple[Feature, ...]:
        """Of its features, in the order of its weights."""
        present: list[tuple[Feature, bool]] = [
            ("tau", self.vectors is not None),
            ("prior_weight", True),
            ("bias_weight", self.bias is not None),
            ("neighbour_weight", self.neighbours is not None),
            ("transition_weight", self.transitions is not None),
        ]
        return tuple(name for name, there in present if there)

    def beside(self, neighbours: ItemToItem) -> Predictor:
        """The same with neighbours, to be calibrated anew from the weights that it has."""
        return self._from_own(replace(self, neighbours=neighbours, weights=None))

    def after(self, transitions: Transitions) -> Predictor:
        """The same with transitions, to be calibrated anew from the weights that it has."""
        return self._from_own(replace(self, transitions=transitions, weights=None))

    def _from_own(self, other: Predictor) -> Predictor:
        """The other, its calibration to begin with our weights: it has fewer steps to go."""
        if self.weights is None:
            return other
        own = START | dict(zip(self.names, self.weights, strict=True))
        return replace(other, weights=tuple(own[name] for name in other.names))

    def calibrated(
        self, ground: Ground, positions: IntArray, tolerance: float = 1e-6
    ) -> tuple[Predictor, float]:
        """With the weights of maximum likelihood, and the weighted mean loss there.

        It begins with its own weights, if it has any.
        """
        start = self.weights or [START[name] for name in self.names]
        lower = [LOWER[name] for name in self.names]
        # Popularity and biases are the same for every row.
        own = [name for name in self.names if name not in ("prior_weight", "bias_weight")]
        held = len(positions) * len(ground.pool) * len(own) <= HELD
        events = list(self.events(ground, positions)) if held else None
        theta, loss = fit_log_linear(
            lambda: self.events(ground, positions) if events is None else unhurried(events, 1),
            start,
            lower,
            tolerance=tolerance,
        )
        return replace(self, weights=tuple(theta.tolist())), loss

    def events(self, ground: Ground, positions: IntArray) -> Iterator[ChoiceEvents]:
        """The features of the rows, chunk by chunk."""
        for part in unhurried(ground.chunks(positions), 1):
            yield self._events(ground, part)

    def judge(self, ground: Ground, positions: IntArray) -> tuple[AnyFloatArray, AnyFloatArray]:
        """(n,) losses and (n,) ranks of the targets, 1 for the best, ties at their middle."""
        assert self.weights is not None
        losses: list[AnyFloatArray] = [np.zeros(0)]
        ranks: list[AnyFloatArray] = [np.zeros(0)]
        for events in self.events(ground, positions):
            logits = _logits(events, self.weights)
            give_way()
            chosen = logits[np.arange(len(logits)), events.targets]
            losses.append(log_sum_exp(logits) - chosen)
            give_way()
            ranks.append(ranks_of(logits, events.targets))
        return np.concatenate(losses), np.concatenate(ranks)

    def logits(self, ground: Ground, positions: IntArray) -> FloatArray:
        """(n, N) of few rows, -inf where an item was not on offer."""
        assert self.weights is not None
        return _logits(self._events(ground, positions), self.weights)

    def _events(self, ground: Ground, positions: IntArray) -> ChoiceEvents:
        return ChoiceEvents(
            self._features(ground, positions),
            ground.offered(positions),
            ground.items(positions),
            ground.weights(positions),
        )

    def _features(self, ground: Ground, positions: IntArray) -> tuple[AnyFloatArray, ...]:
        found: list[AnyFloatArray] = []
        if self.vectors is not None:
            X = ground.rows.x[positions]
            Y = X if self.matrices is None else forward(self.matrices, X)[0]
            give_way()
            found.append(Y @ self.vectors.T)
            give_way()
        found.append(ground.pool.log_prior)
        if self.bias is not None:
            found.append(self.bias)
        if self.neighbours is not None:
            recent = ground.recent(positions, self.neighbours.window)
            found.append(self.neighbours.log_scores(recent))
            give_way()
        if self.transitions is not None:
            assert self.vectors is not None
            recent = ground.recent(positions, self.transitions.window)
            found.append(self.transitions.contexts(recent) @ self.vectors.T)
        return tuple(found)


def _logits(events: ChoiceEvents, weights: Sequence[float]) -> FloatArray:
    logits: FloatArray = np.zeros(events.offered.shape, np.float32)
    for weight, feature in zip(weights, events.features, strict=True):
        logits += np.float32(weight) * feature
        give_way()
    logits[~events.offered] = -np.inf
    give_way()
    return logits


def ranks_of(logits: AnyFloatArray, targets: IntArray) -> AnyFloatArray:
    """(n,) ranks of the targets among logits (n, N), 1 for the best, ties at their middle."""
    chosen = logits[np.arange(len(logits)), targets][:, None]
    better = np.count_nonzero(logits > chosen, axis=1)
    give_way()
    equal = np.count_nonzero(logits == chosen, axis=1)
    ranks: AnyFloatArray = 1.0 + better + (equal - 1) / 2.0
    return ranks
