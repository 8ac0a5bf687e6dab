"""What a run of the demo is run with. `docs/demo.md` says how each setting was come by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lorabank.config import (
    ContrastiveConfig,
    EngineConfig,
    EwcConfig,
    OutboxConfig,
    PopulationConfig,
    PriorConfig,
    QueryConfig,
    TrialConfig,
)
from lorabank.numerics.contrastive import Calibration
from lorabank.types.checks import check_count, check_number, check_text
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.space import EmbeddingSpace

# Fewer would leave some group of the split without anybody in it.
LEAST_USERS = 50
# Seconds; so generous that no result depends on how busy the machine is.
GENEROUS = 600.0
ONLINE = Hyperparameters(learning_rate=0.03, clip_threshold=1.0, ewc_strength=1e-3)


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """One run.

    Attributes:
        bank: URL of the bank.
        seed: of the split, of ties in time, and of everything random in the engine.
        users: how many take part; None means all.
        quick: a smaller run, for a first look.
        events_per_user: a user's first likes that take part; None means all.
        batch: events that are predicted, and then learned, together.
        window, decay: of the context.
        rank: of the adapters.
        online: hyperparameters of the online updates.
        online_rates: learning rates to choose from on past users; none: that of ``online``.
        tuning_events, calibration_events: of each past user, to choose and to calibrate on.
        groups: of similar users, beside everyone, that consolidation may find.
    """

    bank: str = "memory://"
    seed: int = 0
    users: int | None = None
    quick: bool = False
    events_per_user: int | None = None
    batch: int = 10
    window: int = 20
    decay: float = 0.85
    decays: tuple[float, ...] = (0.7, 0.85, 1.0)
    rank: int = 32
    online: Hyperparameters = ONLINE
    online_rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    tuning_events: int = 12
    calibration_events: int = 4
    groups: int = 8

    def __post_init__(self) -> None:
        check_text(self.bank, "bank")
        check_count(self.seed, "seed")
        if self.users is not None:
            check_count(self.users, "users", low=LEAST_USERS)
        if self.events_per_user is not None:
            check_count(self.events_per_user, "events_per_user", low=1)
        check_count(self.groups, "groups")
        check_count(self.batch, "batch", low=1)
        check_count(self.window, "window", low=1)
        check_number(self.decay, "decay", low=1e-6, high=1.0)


def quick(settings: DemoSettings) -> DemoSettings:
    """The same users, each with the first few events alone, no groups beside everyone, less tuning.

    The online learning rate is not chosen, but given.

    With fewer users instead, the gain could not be proved, and no weights would be passed on.
    """
    return replace(
        settings,
        quick=True,
        events_per_user=15,
        decays=(0.7, 0.85),
        tuning_events=2,
        calibration_events=2,
        groups=0,
        online_rates=(),
    )


def engine_config(
    settings: DemoSettings, space: EmbeddingSpace, identity: Calibration, namespace: str
) -> EngineConfig:
    """The engine of the demo; ``identity`` is the calibration of the frozen embeddings."""
    return EngineConfig(
        space=space,
        rank=settings.rank,
        objective="contrastive",
        defaults=settings.online,
        namespace=namespace,
        seed=settings.seed,
        contrastive=ContrastiveConfig(calibration=identity, reference=identity),
        ewc=EwcConfig(anchor_every=100),
        trials=TrialConfig(),
        query=QueryConfig(budget=GENEROUS, deadline=GENEROUS, cache_ttl=24 * 3600.0),
        outbox=OutboxConfig(budget=GENEROUS, deadline=GENEROUS, drain=GENEROUS),
        prior=PriorConfig(),
        # What is measured here are adapters and the skills that they start from.
        population=PopulationConfig(enabled=False),
    )
