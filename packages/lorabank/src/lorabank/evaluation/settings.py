"""What an evaluation is run with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lorabank.types.checks import check_choice, check_count, check_number

SPLITS = ("users", "temporal")
ORDERS = ("time", "sitting")


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """One evaluation. None of this was chosen on the users that methods are compared on.

    Attributes:
        split: "users": 80 % of the users are past, 20 % new. "temporal": one moment; new users
            are those whose first row is not before it, and everything is fitted on rows before it.
        order: "time", or "sitting": rows of a user less than an hour apart are shuffled, so that
            nothing can be predicted from the order in which a page presented its items.
        quick: a smaller run, for a first look.
        window: likes that a context is made of, at most.
        decay: weight of each older like in the contexts that adapters are given.
        decays: those that the mean of the history may choose from.
        rank: of shared and of per-user adapters.
        batch: events that a user's own model learns from together.
        choose: share of the past users that every choice and calibration is made on.
        events_per_user: first events of each new user that are predicted.
        choose_events: first events of each user that choices are made on.
        fit_likes: likes that methods are fitted on, at most; beyond it, past users are drawn.
        test_events: events that methods are compared on, at most; beyond it, new users are drawn.
        choose_cells, calibrate_cells: events times items that choices and calibrations look at.
        horizon: events of the curves.
        resamples: of each bootstrap.
    """

    split: str = "users"
    order: str = "time"
    quick: bool = False
    window: int = 20
    decay: float = 0.85
    decays: tuple[float, ...] = (0.7, 0.85, 1.0)
    rank: int = 32
    batch: int = 10
    choose: float = 0.2
    events_per_user: int = 200
    choose_events: int = 80
    fit_likes: int = 150_000
    test_events: int = 40_000
    choose_cells: int = 16_000_000
    calibrate_cells: int = 8_000_000
    horizon: int = 50
    resamples: int = 2000

    def __post_init__(self) -> None:
        check_choice(self.split, "split", SPLITS)
        check_choice(self.order, "order", ORDERS)
        check_number(self.choose, "choose", low=0.05, high=0.5)
        check_number(self.decay, "decay", low=1e-6, high=1.0)
        for name in (
            "window",
            "rank",
            "batch",
            "events_per_user",
            "choose_events",
            "fit_likes",
            "test_events",
        ):
            check_count(getattr(self, name), name, low=1)
        for name in ("choose_cells", "calibrate_cells", "horizon", "resamples"):
            check_count(getattr(self, name), name, low=1)


def quick(settings: EvaluateSettings) -> EvaluateSettings:
    """Fewer users and events, coarser choices, wider intervals."""
    return replace(
        settings,
        quick=True,
        decays=(0.7, 1.0),
        events_per_user=60,
        fit_likes=20_000,
        test_events=3_000,
        choose_cells=4_000_000,
        calibrate_cells=3_000_000,
        resamples=500,
    )
