"""Settings of what consolidation trains on everyone's feedback and shares."""

from __future__ import annotations

from dataclasses import dataclass, field

from lorabank.errors import InvalidInputError
from lorabank.numerics.contrastive import Calibration
from lorabank.types.checks import check_count, check_number, check_positive

MEBIBYTE = 1 << 20
# The shared adapter learns its own scale, so these only have to be of the right order.
TRAINING = Calibration(tau=4.0, prior_weight=1.0)


@dataclass(frozen=True, slots=True)
class ResidualConfig:
    """The table of item residuals: what the item's text does not say.

    Attributes:
        enabled: False trains none.
        learning_rates: to choose from on held-out users (row-wise Adagrad).
        l2: pull of every touched row to zero.
        epochs: at most; each rate stops after two in a row that held-out users do not like.
        batch: observations per minibatch.
        negatives: drawn per minibatch, shared by its rows.
        max_bytes: of the table; the items liked by most users have a row.
    """

    enabled: bool = True
    learning_rates: tuple[float, ...] = (0.005, 0.01)
    l2: float = 0.01
    epochs: int = 8
    batch: int = 256
    negatives: int = 512
    max_bytes: int = 64 * MEBIBYTE

    def __post_init__(self) -> None:
        _check_choices(self.learning_rates, "residuals.learning_rates")
        for rate in self.learning_rates:
            check_positive(rate, "residuals.learning_rates")
        check_number(self.l2, "residuals.l2", low=0.0)
        for name in ("epochs", "batch", "negatives", "max_bytes"):
            check_count(getattr(self, name), f"residuals.{name}", low=1)


@dataclass(frozen=True, slots=True)
class NeighbourConfig:
    """The item-to-item table.

    Attributes:
        enabled: False counts none.
        window: how many of a user's last liked items are looked up.
        reach: how many likes apart two items may be to be counted as a pair. Far pairs weigh next
            to nothing, but more pairs have enough users. With many rows it is shortened.
        decays: to choose from on held-out users: weight of each further like in between, and of
            an item looked up against the next newer one; in (0, 1].
        ranks: to choose from on held-out users, beside none at all: of a factorisation of the
            counts, which speaks for pairs that too few users had. Items that enough users liked are
            in it, if there are eight times as many. () leaves it out.
        per_item: neighbours kept of each item, the strongest first.
        max_bytes: of the table.
    """

    enabled: bool = True
    window: int = 20
    reach: int = 200
    decays: tuple[float, ...] = (0.85, 0.7, 0.5, 0.95)
    ranks: tuple[int, ...] = (64, 16)
    per_item: int = 256
    max_bytes: int = 32 * MEBIBYTE

    def __post_init__(self) -> None:
        for name in ("window", "reach", "per_item", "max_bytes"):
            check_count(getattr(self, name), f"neighbours.{name}", low=1)
        _check_choices(self.decays, "neighbours.decays")
        for decay in self.decays:
            check_number(decay, "neighbours.decays", low=1e-6, high=1.0)
        for rank in self.ranks:
            check_count(rank, "neighbours.ranks", low=1)


@dataclass(frozen=True, slots=True)
class TransitionConfig:
    """The table of transition vectors: what an item says about the one liked after it.

    Attributes:
        enabled: False trains none.
        decays: to choose from on held-out users: weight of a liked item against the next newer one,
            in (0, 1].
        learning_rate: of row-wise Adagrad.
        l2: pull of every touched row to zero.
        epochs: at most; it stops after two in a row that held-out users do not like.
        batch: observations per minibatch.
        negatives: drawn per minibatch, shared by its rows.
        max_bytes: of the table; the items liked by most users have a row.
    """

    enabled: bool = True
    decays: tuple[float, ...] = (0.7,)
    learning_rate: float = 0.03
    l2: float = 0.001
    epochs: int = 4
    batch: int = 256
    negatives: int = 512
    max_bytes: int = 64 * MEBIBYTE

    def __post_init__(self) -> None:
        _check_choices(self.decays, "transitions.decays")
        for decay in self.decays:
            check_number(decay, "transitions.decays", low=1e-6, high=1.0)
        check_positive(self.learning_rate, "transitions.learning_rate")
        check_number(self.l2, "transitions.l2", low=0.0)
        for name in ("epochs", "batch", "negatives", "max_bytes"):
            check_count(getattr(self, name), f"transitions.{name}", low=1)


@dataclass(frozen=True, slots=True)
class PopulationConfig:
    """What is trained on everyone's feedback, beside the priors of the bank's skills.

    Attributes:
        enabled: False trains none of it.
        ranks: of the shared adapter, to choose from on held-out users. Each costs as much as
            training the adapter once more.
        training: tau and prior weight while training; None means those of the calibrated identity.
        min_users: distinct users that an item's residual or transition, a pair of items, or a group
            needs.
        max_rows_per_user: the newest are trained on, so that nobody dominates.
        confidence: of the lower bound that decides what is kept.
        judged_rows: held-out rows that choices are made on, at most; four times as many prove.
            Fewer where that is more than 33 million rows times items, but not below 128.
        residuals, neighbours, transitions: see there.
    """

    enabled: bool = True
    ranks: tuple[int, ...] = (8, 32, 64)
    training: Calibration | None = TRAINING
    min_users: int = 5
    max_rows_per_user: int = 512
    confidence: float = 0.95
    judged_rows: int = 1024
    residuals: ResidualConfig = field(default_factory=ResidualConfig)
    neighbours: NeighbourConfig = field(default_factory=NeighbourConfig)
    transitions: TransitionConfig = field(default_factory=TransitionConfig)

    def __post_init__(self) -> None:
        _check_choices(self.ranks, "population.ranks")
        for rank in self.ranks:
            check_count(rank, "population.ranks", low=1)
        if self.training is not None:
            check_positive(self.training.tau, "population.training.tau")
            check_number(self.training.prior_weight, "population.training", low=-1e6, high=1e6)
        for name in ("min_users", "max_rows_per_user", "judged_rows"):
            check_count(getattr(self, name), f"population.{name}", low=1)
        check_number(self.confidence, "population.confidence", low=0.5, high=0.9999)


def _check_choices(values: tuple[float, ...], field: str) -> None:
    if not isinstance(values, tuple) or not values:
        raise InvalidInputError(field, values, "a tuple with at least one value")
