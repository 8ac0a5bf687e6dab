"""How far each expert is trusted: scored on a batch before anything is learned from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lorabank.adapter import Adapter
from lorabank.config import MixtureConfig
from lorabank.errors import InvalidInputError
from lorabank.numerics.mixture import new_mixture, observe, with_experts
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray
from lorabank.types.mixture import ExpertState, Mixture
from lorabank.types.values import changed, made

OWN = "own"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the K - 1 shared experts say of contexts and candidates.

    Attributes:
        logits: float32 (K - 1, n, m); the caller may write into it.
        X: the base's output (n, dim).
        vectors: of the candidates, as the base sees them, (m, dim).
        offset: what is in the base's logit beside ``tau * <X, vectors>``, (n, m).
    """

    logits: FloatArray
    X: FloatArray
    vectors: FloatArray
    offset: FloatArray


class Experts(Protocol):
    """What an update asks of a population that is bound to its pool of items.

    It has K - 1 experts, the identity first. The K-th is the user's own chain: the adapter's
    weights on top of one of them, the *base*, which lends it its item vectors and calibration.
    """

    @property
    def id(self) -> str:
        """Of the population."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of all K, the user's own chain last."""
        ...

    @property
    def prior(self) -> tuple[float, ...]:
        """Weights that a new user starts with, (K,)."""
        ...

    @property
    def base_tau(self) -> float:
        """Inverse temperature of the base."""
        ...

    def base_output(self, X: FloatArray) -> FloatArray:
        """Output of the base (n, dim), which is the own chain's input."""
        ...

    def score(self, X: FloatArray, recent: IntArray, candidates: IntArray | None) -> Scores:
        """All K - 1 experts on distinct candidates, or on the whole pool."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """What a batch says about the experts.

    Attributes:
        recent: positions of the items that the user liked last, this batch included.
        experts: None without a population.
        losses: (K - 1, n) of the experts' rows; None where they can't be compared, because the
            batch does not say which items of the pool it is about.
    """

    recent: tuple[int, ...]
    experts: Experts | None = None
    losses: AnyFloatArray | None = None


@dataclass(frozen=True, slots=True)
class MixtureReport:
    """How the experts did on a batch, before it was learned. Losses are weighted means in nats.

    Attributes:
        names: of the K experts, the identity first, the user's own chain last.
        before, after: weights that they are served with, (K,).
        losses: of each, (K,).
        loss: of the mixture, each row predicted with what was known before it.
        identity_loss: of the identity.
    """

    names: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    losses: tuple[float, ...]
    loss: float
    identity_loss: float

    def explain(self) -> str:
        """A table for people: the heaviest expert first."""
        lines = [f"mixture {self.loss:.4f} against {self.identity_loss:.4f} of the identity"]
        order = sorted(range(len(self.names)), key=lambda k: -self.after[k])
        for k in order:
            change = f"{self.before[k]:6.1%} -> {self.after[k]:6.1%}"
            lines.append(f"{change}  loss {self.losses[k]:.4f}  {self.names[k]}")
        return "\n".join(lines)


def mixture_of(state: ExpertState | None, experts: Experts, config: MixtureConfig) -> Mixture:
    """The adapter's mixture over these experts, or the one to start with.

    After a change of population the weights start from the new prior; what "the identity for good"
    has earned stays, and so the bound holds for the user's whole life.
    """
    if state is None or state.mixture is None:
        return new_mixture(experts.prior, config.identity_weight)
    if state.population != experts.id or len(state.mixture.weights) != len(experts.prior):
        return with_experts(state.mixture, experts.prior)
    return state.mixture


def carried(adapter: Adapter, mixing: Mixing) -> ExpertState:
    """The adapter's state with what was liked since: nothing was compared."""
    return changed(adapter.experts or ExpertState(), recent=mixing.recent)


def mix(
    adapter: Adapter,
    mixing: Mixing,
    own_losses: AnyFloatArray,
    powers: AnyFloatArray,
    config: MixtureConfig,
) -> tuple[ExpertState, MixtureReport]:
    """Update the mixture with every row in turn.

    Args:
        adapter: as the batch found it.
        mixing: the batch under the population's experts.
        own_losses: (n,) of the rows under the user's own chain.
        powers: (n,) weights of the rows, in [0, 1].
        config: of the mixture.

    Raises:
        InvalidInputError: a loss is not a number (values too large for float32).
    """
    experts = mixing.experts
    assert experts is not None and mixing.losses is not None  # noqa: PT018 - they come together
    losses = np.concatenate([mixing.losses, own_losses[None]], dtype=np.float64)
    if np.isnan(losses).any():
        raise InvalidInputError("feedback", "a loss that is not a number", "moderate values")
    before = mixture_of(adapter.experts, experts, config)
    rows, weights = (-losses.T).tolist(), powers.tolist()
    mixture, scores = observe(before, rows, experts.prior, config.share, weights)
    total = -sum(power * score for power, score in zip(weights, scores, strict=True) if power)
    means = losses @ powers / len(powers)
    report = MixtureReport(
        names=experts.names,
        before=before.served,
        after=mixture.served,
        losses=tuple(means.tolist()),
        loss=total / len(powers),
        identity_loss=float(means[0]),
    )
    state = made(ExpertState, recent=mixing.recent, population=experts.id, mixture=mixture)
    return state, report
