"""One run of the training: everything is chosen and proved first, then trained on everyone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from lorabank.config import ContrastiveConfig, PriorConfig
from lorabank.numerics.contrastive import Calibration
from lorabank.population.chosen import Chosen
from lorabank.population.court import Court, Verdict, without
from lorabank.population.experts import Candidate, calibrate, common_candidates, group_candidate
from lorabank.population.ground import Ground
from lorabank.population.group_training import train_groups
from lorabank.population.model import Expert, Population
from lorabank.population.neighbour_training import ChosenTable, choose_table, count
from lorabank.population.predictor import Predictor
from lorabank.population.recorder import OnPopulationProgress, Recorder
from lorabank.population.refit import Refit
from lorabank.population.report import PopulationReport
from lorabank.population.residual_choice import ChosenResiduals, ResidualTrainer
from lorabank.population.shared import Trainer, choose_rank
from lorabank.population.tilting import Leaning, LeaningChooser
from lorabank.population.transition_training import ChosenTransitions, TransitionTrainer
from lorabank.population_config import PopulationConfig
from lorabank.types.space import EmbeddingSpace


class Fit:
    """Runs the stages in order, each standing on the choices of those before it."""

    def __init__(
        self,
        ground: Ground,
        config: PopulationConfig,
        prior: PriorConfig,
        contrastive: ContrastiveConfig,
        seed: int,
        on_progress: OnPopulationProgress | None,
        check: Callable[[], object],
    ) -> None:
        self._ground, self._config, self._prior = ground, config, prior
        self._contrastive, self._seed, self._check = contrastive, seed, check
        self._recorder = Recorder(on_progress)

    def run(
        self, space: EmbeddingSpace, groups: Mapping[str, Collection[str]]
    ) -> tuple[Population, PopulationReport]:
        """Choose, prove, and train again on everyone."""
        ground, recorder = self._ground, self._recorder
        with recorder.stage("shared"):
            identity = Predictor(None, ground.pool.vectors).calibrated(ground, ground.stop)[0]
            trainer = self._trainer(identity)
            rank = choose_rank(trainer, ground, self._config.ranks, recorder)
            shared = rank.trained.predictor
        with recorder.stage("residuals"):
            residual_trainer = self._residual_trainer(shared)
            residuals = self._choose_residuals(residual_trainer, shared)
            fullest = shared if residuals is None else residuals.predictor
        with recorder.stage("neighbours"):
            table = self._choose_table(fullest)
            if table is not None:
                fullest = fullest.beside(table.table)
        with recorder.stage("transitions"):
            transition_trainer = self._transition_trainer(shared)
            transitions = self._choose_transitions(transition_trainer, fullest)
            if transitions is not None:
                fullest = fullest.after(transitions.transitions)
        with recorder.stage("groups"):
            fine_tuned = train_groups(trainer, ground, fullest, groups, recorder)
        with recorder.stage("experts"):
            chosen = Chosen(rank, residuals, table, transitions, tuple(fine_tuned))
            verdicts, experts, fullest = self._prove(identity, chosen)
            leaning = self._lean(fullest, table)
        with recorder.stage("refit"):
            refit = Refit(
                ground, self._config, trainer, residual_trainer, transition_trainer, recorder
            )
            population = refit.run(space, experts, chosen, leaning)
        recorder.choices["rank"] = rank.rank
        recorder.choices["epochs"] = rank.trained.epochs
        report = PopulationReport(
            users=len(ground.rows.keys),
            events=int(ground.predicted.sum()),
            experts=tuple(verdict.report for verdict in verdicts),
            choices=recorder.choices,
            losses=recorder.losses,
            seconds=recorder.seconds,
        )
        return population, report

    def _trainer(self, identity: Predictor) -> Trainer:
        training = self._config.training or _calibration(identity)
        return Trainer(training, self._prior, self._contrastive, self._seed, self._check)

    def _residual_trainer(self, shared: Predictor) -> ResidualTrainer:
        return ResidualTrainer(_calibration(shared), self._config, self._seed, self._check)

    def _choose_residuals(
        self, trainer: ResidualTrainer, shared: Predictor
    ) -> ChosenResiduals | None:
        if not self._config.residuals.enabled:
            return None
        chosen = trainer.choose(self._ground, shared, self._recorder)
        if chosen is not None:
            self._recorder.choices["residuals.learning_rate"] = chosen.learning_rate
            self._recorder.choices["residuals.epochs"] = chosen.epochs
        return chosen

    def _transition_trainer(self, shared: Predictor) -> TransitionTrainer:
        return TransitionTrainer(_calibration(shared), self._config, self._seed, self._check)

    def _choose_transitions(
        self, trainer: TransitionTrainer, fullest: Predictor
    ) -> ChosenTransitions | None:
        if not self._config.transitions.enabled:
            return None
        chosen = trainer.choose(self._ground, fullest, self._recorder)
        if chosen is not None:
            self._recorder.choices["transitions.decay"] = chosen.decay
            self._recorder.choices["transitions.epochs"] = chosen.epochs
        return chosen

    def _choose_table(self, beside: Predictor) -> ChosenTable | None:
        if not self._config.neighbours.enabled:
            return None
        counts = count(self._ground, self._ground.counted, self._config)
        if not len(counts.common().low):
            return None
        chosen = choose_table(self._ground, counts, beside, self._config, self._check)
        for name in ("backward", "rank", "source", "target", "scale"):
            self._recorder.choices[f"neighbours.{name}"] = getattr(chosen.choice, name)
        self._recorder.choices["neighbours.decay"] = chosen.table.decay
        return chosen

    def _prove(
        self, identity: Predictor, chosen: Chosen
    ) -> tuple[list[Verdict], tuple[Expert, ...], Predictor]:
        """What came out; what is kept; and the fullest of the experts for everyone among it."""
        ground = self._ground
        court = Court(ground, self._config.confidence, len(chosen.groups))
        residual = None if chosen.residuals is None else chosen.residuals.predictor
        table = None if chosen.table is None else chosen.table.table
        shared = chosen.rank.trained.predictor
        follows = None if chosen.transitions is None else chosen.transitions.transitions
        verdicts: list[Verdict] = []
        kept: dict[str, Candidate] = {}
        for made in common_candidates(identity, shared, residual, table, follows):
            self._check()
            if made.needs is not None and made.needs not in kept:
                continue
            candidate = calibrate(made, ground, ground.stop)
            verdicts.append(court.judge(candidate))
            if verdicts[-1].expert is not None:
                kept[made.name] = candidate
                if made.needs is not None:
                    verdicts = [without(v, (made.needs, made.parent)) for v in verdicts]
        parent = verdicts[-1].report.name
        served = [verdict.expert for verdict in verdicts if verdict.expert is not None]
        for group in chosen.groups:
            candidate = group_candidate(group, parent, residual is not None)
            verdicts.append(court.judge_group(candidate, group.users, served))
        experts = [verdict.expert for verdict in verdicts if verdict.expert is not None]
        return verdicts, court.trusted(experts), list(kept.values())[-1].predictor

    def _lean(self, fullest: Predictor, table: ChosenTable | None) -> Leaning | None:
        if table is None:
            return None
        ground, check = self._ground, self._check
        chooser = LeaningChooser(
            ground, table.counts, self._config, fullest, ground.held_out, check
        )
        leaning = chooser.choose(table.choice.rank)
        if leaning is not None:
            self._recorder.choices["lean.tilt"] = leaning.tilt
            self._recorder.choices["lean.decay"] = leaning.table.decay
            for name in ("target", "scale"):
                self._recorder.choices[f"lean.{name}"] = getattr(leaning.choice, name)
        return leaning


def _calibration(predictor: Predictor) -> Calibration:
    assert predictor.weights is not None
    return Calibration(*predictor.weights)
