"""Settings of an engine. All are checked when the object is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from lorabank.adapter import Objective, Scaling
from lorabank.errors import InvalidInputError
from lorabank.mixture_config import MixtureConfig
from lorabank.numerics.contrastive import Calibration
from lorabank.population_config import (
    NeighbourConfig,
    PopulationConfig,
    ResidualConfig,
    TransitionConfig,
)
from lorabank.types.checks import (
    check_choice,
    check_count,
    check_number,
    check_positive,
    check_text,
)
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ARM_PARAMETERS, OBJECTIVES
from lorabank.types.query import HALF_LIFE
from lorabank.types.skill import SCALINGS
from lorabank.types.space import EmbeddingSpace

__all__ = [
    "ContrastiveConfig",
    "EngineConfig",
    "EwcConfig",
    "MixtureConfig",
    "NeighbourConfig",
    "OutboxConfig",
    "PopulationConfig",
    "PriorConfig",
    "QueryConfig",
    "ReplayConfig",
    "ResidualConfig",
    "RlsConfig",
    "SuccessConfig",
    "TransitionConfig",
    "TrialConfig",
]

Solver: TypeAlias = Literal["sgd", "rls"]
SOLVERS = ("sgd", "rls")
MINUTES = 60.0
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class ContrastiveConfig:
    """The contrastive objective.

    Attributes:
        calibration: tau and prior weight of the adapters' logit, recorded in each adapter.
        reference: those of the identity it is compared with; None means the same.
        negatives: how many are drawn per batch from the item pool; all items if it is smaller.
        negative_below: a reward below this makes the item an explicit negative.
    """

    calibration: Calibration = field(default_factory=lambda: Calibration(tau=10.0))
    reference: Calibration | None = None
    negatives: int = 256
    negative_below: float = 0.5

    def __post_init__(self) -> None:
        check_count(self.negatives, "contrastive.negatives", low=1)
        check_number(self.negative_below, "contrastive.negative_below", low=0.0, high=1.0)
        for calibration in (self.calibration, self.reference or self.calibration):
            check_number(calibration.tau, "contrastive.tau", low=0.0)
            check_number(calibration.prior_weight, "prior_weight", low=-1e6, high=1e6)


@dataclass(frozen=True, slots=True)
class EwcConfig:
    """When EWC++ moves its anchor. A stream has no task end, so this policy stands in for one.

    The anchor moves to the current weights after every ``anchor_every`` samples exactly, and at
    once when the Page-Hinkley test sees the loss before an update rise against the identity's:
    then the weights that fitted the old regime are what is worth holding on to. Before the first
    move nothing is held.

    Attributes:
        anchor_every: samples between moves.
        decay: of the running importance, per sample.
        drift_delta: rise that is tolerated, in standard deviations.
        drift_threshold: cumulated rise that counts as a drift, in standard deviations. A false
            alarm only moves the anchor early.
    """

    anchor_every: int = 1024
    decay: float = 0.995
    drift_delta: float = 0.5
    drift_threshold: float = 5.0

    def __post_init__(self) -> None:
        check_count(self.anchor_every, "ewc.anchor_every", low=1)
        check_number(self.decay, "ewc.decay", low=0.0, high=0.999999)
        check_number(self.drift_delta, "ewc.drift_delta", low=0.0)
        check_positive(self.drift_threshold, "ewc.drift_threshold")


@dataclass(frozen=True, slots=True)
class SuccessConfig:
    """What counts as success, and as how much reward.

    Attributes:
        policy: "gain" compares with the calibrated identity on the next batch;
            "loss" is the seed's rule: success if the loss is below ``loss_threshold``, reward
            ``1 - loss``. It never succeeds where the identity's loss is large.
        gain_scale: gain that earns a reward of 1.
        loss_threshold: of the "loss" policy.
    """

    policy: str = "gain"
    gain_scale: float = 0.2
    loss_threshold: float = 0.15

    def __post_init__(self) -> None:
        check_choice(self.policy, "success.policy", ("gain", "loss"))
        check_positive(self.gain_scale, "success.gain_scale")
        check_positive(self.loss_threshold, "success.loss_threshold")


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """Shadow trials: alternatives to the default hyperparameters, run beside it.

    Attributes:
        probability: that an update without a trial starts one; 0 switches trials off.
        updates: how many updates the arms are held for; one-step effects favour timid rates.
        arms: (parameter, factor of its default).
        holdout: share of users that are never hinted, chosen by their keyed hash.
        half_life: seconds in which evidence loses half of its weight (see `Query`).
    """

    probability: float = 0.05
    updates: int = 4
    arms: tuple[tuple[str, float], ...] = (
        ("learning_rate", 0.5),
        ("learning_rate", 2.0),
        ("learning_rate", 4.0),
        ("clip_threshold", 0.5),
        ("clip_threshold", 2.0),
        ("ewc_strength", 0.25),
        ("ewc_strength", 4.0),
        ("steps", 2.0),
    )
    holdout: float = 0.05
    half_life: float = HALF_LIFE

    def __post_init__(self) -> None:
        check_number(self.probability, "trials.probability", low=0.0, high=1.0)
        check_number(self.holdout, "trials.holdout", low=0.0, high=1.0)
        check_count(self.updates, "trials.updates", low=1)
        check_positive(self.half_life, "trials.half_life")
        object.__setattr__(self, "arms", _as_pairs(self.arms))
        for parameter, factor in self.arms:
            check_choice(parameter, "trials.arms", ARM_PARAMETERS)
            check_positive(factor, "trials.arms")


def _as_pairs(arms: Any) -> tuple[tuple[str, float], ...]:
    if not _is_sequence(arms) or not all(_is_sequence(arm) and len(arm) == 2 for arm in arms):
        expected = "pairs of parameter and factor, such as (('learning_rate', 2.0),)"
        raise InvalidInputError("trials.arms", arms, expected)
    return tuple((parameter, factor) for parameter, factor in arms)


def _is_sequence(value: object) -> bool:
    return isinstance(value, list | tuple)


@dataclass(frozen=True, slots=True)
class QueryConfig:
    """How a bank is asked. Times in seconds.

    Attributes:
        k: patterns to retrieve.
        budget: how long an update waits for an answer before it goes on with defaults. The wait
            ends a quarter of it earlier (10 ms at most), since the event loop may be late, and the
            update itself takes some time.
        deadline: how long the query itself may run.
        refresh_every: a user's updates that share one answer.
        cache_ttl: how long an answer is kept.
        cache_entries, cache_bytes: bounds of the cache.
        failures_to_open: failures in a row that open the circuit breaker.
        pause: how long the breaker stays open before a probe.
    """

    k: int = 5
    budget: float = 0.1
    deadline: float = 5.0
    refresh_every: int = 4
    cache_ttl: float = 5 * MINUTES
    cache_entries: int = 4096
    cache_bytes: int = 64 * MEBIBYTE
    failures_to_open: int = 5
    pause: float = 10.0

    def __post_init__(self) -> None:
        check_count(self.k, "query.k")
        for name in ("budget", "deadline", "cache_ttl", "pause"):
            check_positive(getattr(self, name), f"query.{name}")
        for name in ("refresh_every", "cache_entries", "cache_bytes", "failures_to_open"):
            check_count(getattr(self, name), f"query.{name}", low=1)


@dataclass(frozen=True, slots=True)
class OutboxConfig:
    """How finished episodes are delivered. Times in seconds.

    Attributes:
        capacity: episodes that may wait; beyond it updates wait up to ``budget``.
        budget: how long an update waits for room before its episode is rejected; the wait ends
            a little earlier, as in `QueryConfig`.
        batch: episodes per delivery.
        deadline: of one delivery.
        backoff, backoff_max: pause after a failed delivery, doubled each time.
        drain: how long closing waits for what is left.
        dead_letters: undeliverable episodes that are kept for inspection.
        pending: unscored episodes that are remembered until they are scored or the bank is
            disconnected; the oldest beyond that are delivered without an outcome.
    """

    capacity: int = 4096
    budget: float = 0.1
    batch: int = 64
    deadline: float = 10.0
    backoff: float = 0.05
    backoff_max: float = 5.0
    drain: float = 10.0
    dead_letters: int = 1024
    pending: int = 100_000

    def __post_init__(self) -> None:
        for name in ("capacity", "batch", "dead_letters", "pending"):
            check_count(getattr(self, name), f"outbox.{name}", low=1)
        for name in ("budget", "deadline", "backoff", "backoff_max", "drain"):
            check_positive(getattr(self, name), f"outbox.{name}")


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """The local experience replay that priors are trained on. Never sent to a bank.

    Attributes:
        enabled: False keeps no feedback at all (and so no prior can be trained).
        max_bytes: of all rows together; the oldest go first.
        max_rows_per_user: the newest are kept.
        ttl: seconds after which a row is dropped.
    """

    enabled: bool = True
    max_bytes: int = 128 * MEBIBYTE
    max_rows_per_user: int = 512
    ttl: float = 90 * 86_400.0

    def __post_init__(self) -> None:
        check_count(self.max_bytes, "replay.max_bytes", low=1)
        check_count(self.max_rows_per_user, "replay.max_rows_per_user", low=1)
        check_positive(self.ttl, "replay.ttl")


@dataclass(frozen=True, slots=True)
class PriorConfig:
    """How consolidation trains the weights that new users start from.

    Attributes:
        learning_rate, epochs: of the prior for everyone (Adam, cosine decay).
        refine_learning_rate, refine_epochs: of a group's prior, which starts from its parent's.
        batch: observations per minibatch.
        negatives: drawn per minibatch, shared by its rows.
        held_out: share of users held out, half to stop by and half to prove the gain on.
        min_users: held-out users that a proof needs, at least.
        refit: train again on all users, for as many epochs, once the gain is proved.
    """

    learning_rate: float = 1e-2
    epochs: int = 6
    refine_learning_rate: float = 2e-3
    refine_epochs: int = 3
    batch: int = 256
    negatives: int = 512
    held_out: float = 0.2
    min_users: int = 5
    refit: bool = True

    def __post_init__(self) -> None:
        check_positive(self.learning_rate, "prior.learning_rate")
        check_positive(self.refine_learning_rate, "prior.refine_learning_rate")
        for name in ("epochs", "refine_epochs", "batch", "negatives"):
            check_count(getattr(self, name), f"prior.{name}", low=1)
        check_count(self.min_users, "prior.min_users", low=2)
        check_number(self.held_out, "prior.held_out", low=0.01, high=0.9)


@dataclass(frozen=True, slots=True)
class RlsConfig:
    """The "rls" solver: recursive least squares on B.

    Attributes:
        ridge: how many samples in random directions the B that a user starts from is worth. Real
            inputs lie close together, so that one of them tells more than that.
        forgetting: per sample, in [0.5, 1]. 1 weighs all samples alike; below it each sample makes
            the older ones fade in its own direction, so that a stream in all directions is
            remembered for about ``rank / (1 - forgetting)`` samples.
    """

    ridge: float = 30.0
    forgetting: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.ridge, "rls.ridge")
        check_number(self.forgetting, "rls.forgetting", low=0.5, high=1.0)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of a `LoRAPersonalizationEngine`.

    Attributes:
        space: the embedding space of inputs, targets and items.
        rank: of new adapters, 1..dim.
        alpha: numerator of the scale; None means ``rank``, so that the scale is 1.
        scaling: "lora" (alpha / rank) or "rslora" (alpha / sqrt(rank)).
        objective: "mse" or "contrastive".
        defaults: hyperparameters used where the bank gives no hint.
        namespace: of everything that is stored in or asked of a bank.
        user_key_secret: key of the hash that stands for users in a bank; share it between
            engines that should recognise each other's users.
        seed: of every random choice.
        consolidate_every: seconds between periodic consolidations; None means never.
        worker_threads: threads for numerics that would block the event loop.
        solver: "sgd" learns A and B by gradient steps. "rls", for "mse" alone, keeps A as it is
            (a skill's, or as it was drawn) and solves for B: there is no learning rate, clip
            threshold or number of steps, so hints on them are refused and no trials run. Nor is
            there EWC, the ridge and the information gathered so far being its memory.
        rls: settings of that solver.
        kernel: what computes: "numpy", the name of an installed kernel, or "auto" for an installed
            one if there is one. See `lorabank.open_kernel`.
    """

    space: EmbeddingSpace
    rank: int = 8
    alpha: float | None = None
    scaling: Scaling = "lora"
    objective: Objective = "mse"
    defaults: Hyperparameters = field(default_factory=Hyperparameters)
    namespace: str = "default"
    user_key_secret: bytes = b"lorabank"
    seed: int = 0
    consolidate_every: float | None = None
    worker_threads: int = 2
    kernel: str = "auto"
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    ewc: EwcConfig = field(default_factory=EwcConfig)
    success: SuccessConfig = field(default_factory=SuccessConfig)
    trials: TrialConfig = field(default_factory=TrialConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    outbox: OutboxConfig = field(default_factory=OutboxConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    population: PopulationConfig = field(default_factory=PopulationConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    solver: Solver = "sgd"
    rls: RlsConfig = field(default_factory=RlsConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.space, EmbeddingSpace):
            raise InvalidInputError("config.space", self.space, "an EmbeddingSpace")
        if not isinstance(self.defaults, Hyperparameters):
            raise InvalidInputError("config.defaults", self.defaults, "Hyperparameters")
        check_count(self.rank, "rank", low=1)
        if self.rank > self.space.dim:
            raise InvalidInputError("rank", self.rank, f"at most the dimension {self.space.dim}")
        if self.alpha is not None:
            check_positive(self.alpha, "alpha")
        check_choice(self.scaling, "scaling", SCALINGS)
        check_choice(self.objective, "objective", OBJECTIVES)
        check_text(self.namespace, "namespace")
        check_text(self.kernel, "kernel")
        if not isinstance(self.user_key_secret, bytes) or not 1 <= len(self.user_key_secret) <= 64:
            raise InvalidInputError("user_key_secret", "(hidden)", "1 to 64 bytes")
        check_count(self.seed, "seed")
        check_count(self.worker_threads, "worker_threads", low=1)
        if self.consolidate_every is not None:
            check_positive(self.consolidate_every, "consolidate_every")
        self._check_solver()

    def _check_solver(self) -> None:
        check_choice(self.solver, "solver", SOLVERS)
        if self.solver == "rls" and self.objective != "mse":
            raise InvalidInputError("solver", "rls", f"'sgd' for the objective {self.objective!r}")
        if self.solver == "rls" and self.defaults.ewc_strength > 0:
            strength = self.defaults.ewc_strength
            raise InvalidInputError("ewc_strength", strength, "0: the memory of 'rls' is its ridge")

    @property
    def effective_alpha(self) -> float:
        """``alpha``, or the rank where it was left out."""
        return float(self.rank) if self.alpha is None else self.alpha
