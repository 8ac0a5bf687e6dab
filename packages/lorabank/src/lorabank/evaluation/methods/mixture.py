"""The mixture of experts as the library serves it, with the user's own chain among them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from lorabank.adaptation.stacking import prepare_with_experts
from lorabank.adaptation.step import Decision, adapt
from lorabank.adapter import Adapter
from lorabank.config import EngineConfig, EwcConfig
from lorabank.engine.starting import identity_adapter
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.measures.events import measure
from lorabank.evaluation.methods.base import Scores
from lorabank.evaluation.methods.shared import proves
from lorabank.evaluation.views import View
from lorabank.experts import BoundExperts
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.numerics.mixture import new_mixture, observe
from lorabank.population import Population, PopulationScorer
from lorabank.population.trust import trusted
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.space import EmbeddingSpace

OWN_RANK = 8
# Users here have tens of events, not thousands: the anchor that EWC holds on to moves as often.
ANCHOR_EVERY = 40
ONLINE = Hyperparameters(ewc_strength=1e-3)
# Of the own chain; an adapter that stands on a prior is near its goal.
RATES = (0.05, 0.2, 0.8)
# Whom the rate is chosen on.
RATE_USERS = 60


class Replay(NamedTuple):
    """The users of a view, run through once.

    Attributes:
        own: (n, dim) of each user's own chain just before each event.
        likelihoods: (n, K) log likelihood of each event under each expert, the own chain last.
        norms: (n, K) what logits have to be lessened by to be log probabilities.
    """

    own: FloatArray
    likelihoods: AnyFloatArray
    norms: AnyFloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Probabilities of a population's experts, mixed by how well each predicted the user so far.

    The weights follow every event by its exact likelihood over what was on offer; the user's own
    adapter learns from batches by the library's own update step.

    Attributes:
        experts: bound to the catalogue.
        config: of the own chain and of the mixture.
        batch: events that are learned from together.
        choices: what was kept on past users.
    """

    experts: BoundExperts
    config: EngineConfig
    batch: int
    choices: Mapping[str, float] = field(default_factory=dict)
    _replays: list[tuple[View, Replay]] = field(default_factory=list, init=False, repr=False)

    @property
    def bytes_per_user(self) -> float:
        """The own adapter, the weights of the mixture, and the last likes."""
        own = 4.0 * 2 * self.config.rank * self.config.space.dim
        return own + 8.0 * (len(self.experts.names) + 1)

    def logits(self, view: View) -> Scores:
        """Log probabilities. All users are run through here."""
        own, likelihoods, norms = self.replay(view)
        with np.errstate(divide="ignore"):
            shifts = (norms - np.log(self.weights(view, likelihoods))).astype(np.float32)

        def logits(rows: IntArray) -> FloatArray:
            mixed = np.empty((len(rows), len(view.items)), np.float32)
            done = 0
            for part in view.chunks(rows, step=len(self.experts.names)):
                logs = self.expert_logits(view, part, own[part])
                logs -= shifts[part].T[:, :, None]
                mixed[done : done + len(part)] = _log_sum(logs)
                done += len(part)
            view.mask(rows, mixed)
            return mixed

        return logits

    def replay(self, view: View) -> Replay:
        """Of all users; made once."""
        for known, found in self._replays:
            if known is view:
                return found
        own = self.own_outputs(view)
        self._replays.append((view, Replay(own, *self.likelihoods(view, own))))
        return self._replays[-1][1]

    def tilt(self, view: View) -> Scores | None:
        """As the library's `rank` leans; see `Population.tilt`."""
        scorer = self.experts.scorer
        if scorer.tilt(view.recent[:1]) is None:
            return None

        def tilt(rows: IntArray) -> FloatArray:
            found = scorer.tilt(view.recent[rows])
            assert found is not None
            return found

        return tilt

    def own_outputs(self, view: View, most: int | None = None) -> FloatArray:
        """(n, dim) of each user's own chain, learned from that user's earlier batches alone; zero
        for all but the first ``most`` users."""
        outputs = np.zeros_like(view.events.x)
        for number in np.unique(view.events.user)[:most].tolist():
            rows = np.flatnonzero(view.events.user == number)
            for part, adapter in self.states(view, self.new_adapter(), rows):
                outputs[part] = adapter.transform(self.experts.base_output(view.events.x[part]))
        return outputs

    def new_adapter(self) -> Adapter:
        """One that changes nothing yet."""
        return identity_adapter(self.config, "user", np.random.default_rng(self.config.seed))

    def states(
        self, view: View, adapter: Adapter, rows: IntArray
    ) -> Iterator[tuple[IntArray, Adapter]]:
        """A stream's batches, each with the adapter that has learned from those before."""
        for begin in range(0, len(rows), self.batch):
            part = rows[begin : begin + self.batch]
            yield part, adapter
            if begin + self.batch < len(rows):
                adapter = self.learned(view, adapter, part)

    def learned(self, view: View, adapter: Adapter, rows: IntArray) -> Adapter:
        """The library's update: mixture weights and own weights."""
        events = view.events
        feedback = Feedback(events.x[rows], items=events.target[rows])
        seed = [self.config.seed, int(events.user[rows[0]]), adapter.version]
        rng = np.random.default_rng(seed)
        batch, mixing = prepare_with_experts(
            adapter, feedback, self.config, self.experts.pool, self.experts, rng
        )
        decision = Decision(self.config.defaults)
        step = adapt(adapter, batch, decision, self.config, rng, time.perf_counter, mixing)
        return step.adapter

    def expert_logits(self, view: View, rows: IntArray, own: FloatArray) -> FloatArray:
        """(K, m, N) of each expert, the own chain last; nothing is left out of the offer."""
        scores = self.experts.score(view.events.x[rows], view.recent[rows], None)
        logits = np.empty((len(scores.logits) + 1, *scores.offset.shape), np.float32)
        logits[:-1] = scores.logits
        np.matmul(np.float32(self.experts.base_tau) * own, scores.vectors.T, out=logits[-1])
        logits[-1] += scores.offset
        return logits

    def log_probabilities(self, view: View, rows: IntArray, own: FloatArray) -> FloatArray:
        """(K, m, N) of each expert over what was on offer, the own chain last."""
        logs = self.expert_logits(view, rows, own)
        for k in range(len(logs)):
            view.mask(rows, logs[k])
            logs[k] -= log_sum_exp(logs[k])[:, None]
        return logs

    def likelihoods(self, view: View, own: FloatArray) -> tuple[AnyFloatArray, AnyFloatArray]:
        """(n, K) log likelihood of every event under each expert, and (n, K) what the logits of
        what was on offer have to be lessened by to be log probabilities."""
        found = np.empty((len(view), len(self.experts.names)))
        norms = np.empty_like(found)
        for rows in view.chunks(step=len(self.experts.names)):
            logits = self.expert_logits(view, rows, own[rows])
            for k in range(len(logits)):
                view.mask(rows, logits[k])
                norms[rows, k] = log_sum_exp(logits[k])
            found[rows] = logits[:, np.arange(len(rows)), view.events.target[rows]].T
        return found - norms, norms

    def weights(self, view: View, likelihoods: AnyFloatArray) -> AnyFloatArray:
        """(n, K) weights before each event: from the same user's earlier events alone."""
        settings, prior = self.config.mixture, self.experts.prior
        found = np.empty_like(likelihoods)
        mixture, last = new_mixture(prior, settings.identity_weight), -1
        for row, number in enumerate(view.events.user.tolist()):
            if number != last:
                mixture, last = new_mixture(prior, settings.identity_weight), number
            found[row] = mixture.served
            mixture, _ = observe(mixture, [likelihoods[row].tolist()], prior, settings.share)
        return found


def _log_sum(logs: FloatArray) -> FloatArray:
    """(m, N) log of the sum of exponentials over the first axis, (K, m, N). In place."""
    peak = logs.max(axis=0)
    peak[np.isneginf(peak)] = 0.0
    logs -= peak
    np.exp(logs, out=logs)
    total: FloatArray = logs.sum(axis=0)
    with np.errstate(divide="ignore"):
        np.log(total, out=total)
    total += peak
    return total


def fit_mixture(ground: Ground, population: Population) -> Mixed:
    """A population's experts, with the library's own settings."""
    dim = ground.items.shape[1]
    config = EngineConfig(
        space=EmbeddingSpace("evaluation", dim),
        rank=min(OWN_RANK, dim),
        objective="contrastive",
        defaults=ONLINE,
        seed=ground.seed,
        ewc=EwcConfig(anchor_every=ANCHOR_EVERY),
    )
    experts = BoundExperts(population, ground.pool)
    mixed = [
        Mixed(
            experts,
            replace(config, defaults=replace(ONLINE, learning_rate=rate)),
            ground.settings.batch,
            {e.name: e.gain for e in population.experts}
            | {"own.learning_rate": rate, "tilt": population.tilt},
        )
        for rate in RATES
    ]
    return min(mixed, key=lambda candidate: _own_loss(candidate, ground))


def trusted_anew(ground: Ground, population: Population) -> Population:
    """With experts that are trusted as they bear it out together, for populations that were put
    together or taken apart: by the same users as the library proves on."""
    view, scorer = ground.choose, PopulationScorer(population, ground.pool)
    rows = np.flatnonzero(proves(view.events.user))

    def losses(name: str) -> AnyFloatArray:
        def logits(part: IntArray) -> FloatArray:
            y = scorer.transform(name, view.events.x[part])
            return scorer.logits(name, y, view.recent[part])

        return measure(view, logits, rows).nll

    found = [losses(name) for name in population.names]
    experts = trusted(population.experts, found, view.events.user[rows])
    return replace(population, experts=experts)


def _own_loss(mixed: Mixed, ground: Ground) -> float:
    """Mean NLL of the own chain by itself, on some events of a few of the choose users."""
    view, rows = ground.choose, ground.calibrate_rows
    own = mixed.own_outputs(view, RATE_USERS)
    rows = rows[own[rows].any(axis=1)]
    name = mixed.experts.base_expert.name

    def logits(part: IntArray) -> FloatArray:
        return mixed.experts.scorer.logits(name, own[part], view.recent[part])

    losses = measure(view, logits, rows).nll
    return float(np.average(losses, weights=ground.weights(rows)))
