"""The last training: what was chosen and proved, on everyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lorabank.numerics.lora import Matrices
from lorabank.population.chosen import Chosen
from lorabank.population.ground import Ground
from lorabank.population.group_training import TrainedGroup, refining
from lorabank.population.model import GROUP_PREFIX, SHARED, Expert, Population, SharedAdapter
from lorabank.population.neighbour_training import count
from lorabank.population.neighbours import ItemToItem
from lorabank.population.predictor import Predictor
from lorabank.population.recorder import Recorder
from lorabank.population.residual_choice import ResidualTrainer
from lorabank.population.residuals import Residuals
from lorabank.population.shared import ChosenRank, Trained, Trainer, fresh, schedule_for
from lorabank.population.tabling import Factoriser, TableChoice, build_table
from lorabank.population.tilting import Leaning
from lorabank.population.transition_training import TransitionTrainer
from lorabank.population.transitions import Transitions
from lorabank.population_config import PopulationConfig
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """Trains again, as long and as fast as was chosen, with nobody held out.

    With ``PriorConfig.refit`` off only the fitted users are in it, as when it was proved. What no
    kept expert is made of is left out.
    """

    ground: Ground
    config: PopulationConfig
    trainer: Trainer
    residual_trainer: ResidualTrainer
    transition_trainer: TransitionTrainer
    recorder: Recorder

    def run(
        self,
        space: EmbeddingSpace,
        experts: tuple[Expert, ...],
        chosen: Chosen,
        leaning: Leaning | None,
    ) -> Population:
        """The population of the experts that were kept."""
        ground = self.ground.with_everyone() if self.trainer.prior.refit else self.ground
        needed = {expert.adapter for expert in experts if expert.adapter is not None}
        adapters: list[SharedAdapter] = []
        residuals: Residuals | None = None
        transitions: Transitions | None = None
        if needed:
            shared = self._shared(ground, chosen.rank)
            self.recorder.tell("refit", "shared adapter", 0.6)
            adapters.append(_adapter(SHARED, shared, ground))
            groups = [group for group in chosen.groups if GROUP_PREFIX + group.id in needed]
            adapters += [self._group(ground, group, shared) for group in groups]
            if any(expert.residuals for expert in experts):
                residuals = self._residuals(ground, shared, chosen)
            if any(expert.transition_weight for expert in experts):
                transitions = self._transitions(ground, shared, residuals, chosen)
        self.recorder.tell("refit", "residuals", 0.9)
        forms = {}
        if any(expert.neighbour_weight for expert in experts):
            assert chosen.table is not None
            forms["served"] = (chosen.table.choice, chosen.table.table)
        if leaning is not None:
            forms["lean"] = (leaning.choice, leaning.table)
        tables = self._tables(ground, forms)
        users = _keys(ground) if adapters or tables else ()
        return Population(
            space=space,
            items=len(ground.pool),
            adapters=tuple(adapters),
            residuals=residuals,
            neighbours=tables.get("served"),
            experts=experts,
            user_keys=users,
            transitions=transitions,
            tilt=0.0 if leaning is None else leaning.tilt,
            lean=tables.get("lean"),
        )

    def _shared(self, ground: Ground, chosen: ChosenRank) -> Matrices:
        if (kept := self._as_chosen(chosen.trained)) is not None:
            return kept
        start = fresh(chosen.rank, ground.pool.dim, self.trainer.seed)
        schedule = schedule_for(chosen.rank, self.trainer.prior)
        users, epochs = ground.split.fit, chosen.trained.epochs
        return self.trainer.again(ground, start, users, schedule, epochs)

    def _group(self, ground: Ground, group: TrainedGroup, start: Matrices) -> SharedAdapter:
        """The users behind the shared adapter are behind the group's as well."""
        if (kept := self._as_chosen(group.trained)) is not None:
            return _adapter(GROUP_PREFIX + group.id, kept, ground)
        users = group.users & ground.split.fit
        schedule, epochs = refining(self.trainer), group.trained.epochs
        matrices = self.trainer.again(ground, start, users, schedule, epochs)
        return _adapter(GROUP_PREFIX + group.id, matrices, ground)

    def _as_chosen(self, trained: Trained) -> Matrices | None:
        """Without a refit the same training on the same users would give the same weights."""
        return None if self.trainer.prior.refit else trained.predictor.matrices

    def _residuals(self, ground: Ground, shared: Matrices, chosen: Chosen) -> Residuals:
        assert chosen.residuals is not None
        if not self.trainer.prior.refit:
            return chosen.residuals.table(ground.pool)
        return self.residual_trainer.again(ground, shared, chosen.residuals)

    def _transitions(
        self, ground: Ground, shared: Matrices, residuals: Residuals | None, chosen: Chosen
    ) -> Transitions | None:
        assert chosen.transitions is not None
        if not self.trainer.prior.refit:
            return chosen.transitions.transitions
        parts = Predictor(shared, ground.pool.vectors)
        if residuals is not None:
            vectors, bias = residuals.item_vectors(ground.pool), residuals.item_bias(ground.pool)
            parts = Predictor(shared, vectors, bias)
        return self.transition_trainer.again(ground, parts, chosen.transitions)

    def _tables(
        self, ground: Ground, forms: Mapping[str, tuple[TableChoice, ItemToItem]]
    ) -> dict[str, ItemToItem]:
        """By name, of each form; its table of the fitted users alone comes with it."""
        if not self.trainer.prior.refit or not forms:
            return {name: table for name, (_, table) in forms.items()}
        counts = count(ground, ground.counted, self.config)
        factoriser = Factoriser(counts)
        return {
            name: build_table(counts, choice, self.config.neighbours, factoriser)
            for name, (choice, _) in forms.items()
        }


def _adapter(name: str, m: Matrices, ground: Ground) -> SharedAdapter:
    """The scale is 1: alpha is the rank."""
    weights = Weights(m.A.astype(np.float32), m.B.astype(np.float32))
    return SharedAdapter(name, weights, float(weights.rank), "lora", _keys(ground))


def _keys(ground: Ground) -> tuple[str, ...]:
    """Of everyone who is fitted, or whom something was chosen by."""
    return ground.rows.keys
