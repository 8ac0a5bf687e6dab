"""What several methods share, made once per run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from lorabank.config import (
    NeighbourConfig,
    PopulationConfig,
    PriorConfig,
    ResidualConfig,
    TransitionConfig,
)
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated
from lorabank.evaluation.methods.history import fit_identity
from lorabank.evaluation.methods.neighbours import pair_tables
from lorabank.evaluation.methods.shared import (
    Shared,
    random_groups,
    shuffled_items,
    similar_groups,
    train,
)
from lorabank.evaluation.sources.table import OnProgress
from lorabank.population import Population
from lorabank.population.model import GROUP_PREFIX, SHARED

Made = TypeVar("Made")


class Workshop:
    """Made from past users alone, when first asked for.

    Attributes:
        ground: past users.
        tell: progress of what takes long.
        used: names of what was asked for since this was last cleared.
        seconds: of one core, that each thing took to make.
    """

    def __init__(self, ground: Ground, tell: OnProgress = lambda *_: None) -> None:
        self.ground, self.tell = ground, tell
        self.used: set[str] = set()
        self.seconds: dict[str, float] = {}
        self._made: dict[str, Any] = {}

    @property
    def identity(self) -> Calibrated:
        """The frozen contexts with calibrated weights: what adapters start as."""
        return self._once("identity", lambda: fit_identity(self.ground))

    @property
    def tables(self) -> dict[bool, Any]:
        """Of item-kNN: directed or not."""
        return self._once("tables", lambda: pair_tables(self.ground))

    @property
    def full(self) -> Population:
        """Everything: shared adapter, residuals, neighbours, and groups of similar users."""
        return self._once("full", self._full)

    @property
    def plain(self) -> Population:
        """A shared adapter trained twice as long, with groups, half of them random."""
        return self._once("plain", self._plain)

    @property
    def shuffled(self) -> Population:
        """Everything, learned from targets in random order; half as long, for there is nothing
        to learn and early stopping would end it."""
        return self._once("shuffled", self._shuffled)

    @property
    def shared(self) -> Shared:
        """The adapter for everyone, proved by itself or as the ground of what else was learned;
        one that changes nothing if neither."""
        found = [a for a in self.plain.adapters if a.name == SHARED]
        found = found or [a for a in self.full.adapters if a.name == SHARED]
        return Shared(self.ground.log_prior, found[0] if found else None)

    def with_groups(self, kind: str) -> Population:
        """The plain population with its "similar" or its "random" groups alone."""
        prefix = f"{GROUP_PREFIX}{kind}-"
        kept = tuple(
            expert
            for expert in self.plain.experts
            if expert.name.startswith(prefix) or not expert.name.startswith(GROUP_PREFIX)
        )
        return replace(self.plain, experts=kept)

    def _full(self) -> Population:
        config, prior = self._plan
        groups = None if self.ground.settings.quick else similar_groups(self.ground)
        return train(self.ground, config, prior, groups=groups, tell=self.tell)[0]

    def _plain(self) -> Population:
        config, prior = self._plan
        plain = replace(
            config,
            residuals=ResidualConfig(enabled=False),
            neighbours=NeighbourConfig(enabled=False),
            transitions=TransitionConfig(enabled=False),
        )
        groups = {
            **{f"similar-{k}": v for k, v in similar_groups(self.ground).items()},
            **{f"random-{k}": v for k, v in random_groups(self.ground).items()},
        }
        longer = replace(prior, epochs=2 * prior.epochs)
        return train(self.ground, plain, longer, groups=groups, tell=self.tell)[0]

    def _shuffled(self) -> Population:
        config, prior = self._plan
        rates = replace(config.residuals, learning_rates=config.residuals.learning_rates[:1])
        config = replace(config, residuals=rates)
        prior = replace(prior, epochs=max(1, prior.epochs // 2))
        return train(self.ground, config, prior, items=shuffled_items(self.ground), tell=self.tell)[
            0
        ]

    def _once(self, name: str, make: Callable[[], Made]) -> Made:
        self.used.add(name)
        if name not in self._made:
            started = time.process_time()
            self._made[name] = make()
            self.seconds[name] = time.process_time() - started
        made: Made = self._made[name]
        return made

    @property
    def _plan(self) -> tuple[PopulationConfig, PriorConfig]:
        """The library's own defaults; less of everything for a first look."""
        rank = min(self.ground.settings.rank, self.ground.items.shape[1])
        config = PopulationConfig(ranks=(rank,))
        if not self.ground.settings.quick:
            return config, PriorConfig()
        rates = ResidualConfig(learning_rates=(0.005,), epochs=2)
        return replace(config, residuals=rates), PriorConfig(epochs=3)
