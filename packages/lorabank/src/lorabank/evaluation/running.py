"""One seed: split, fit every method on past users, measure it on new ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.choosing import HeldOut
from lorabank.evaluation.ground import make_ground
from lorabank.evaluation.measures.bound import Bound, Single, best_single, largest_excess
from lorabank.evaluation.measures.drift import Drift, after_drift
from lorabank.evaluation.measures.events import measure
from lorabank.evaluation.methods.base import Served
from lorabank.evaluation.methods.mixture import Mixed
from lorabank.evaluation.methods.registry import EVERYTHING, METHODS, Method
from lorabank.evaluation.methods.workshop import Workshop
from lorabank.evaluation.metrics import EventScores
from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.sources.table import Dataset, OnProgress
from lorabank.evaluation.splits import Split, make_split
from lorabank.evaluation.views import View, make_view
from lorabank.numerics.contrastive import Calibration

UNCHANGED = Calibration(1.0, 0.0)
# With something to predict, on each side: nothing can be said of fewer.
LEAST_USERS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A method on the new users of one seed.

    Attributes:
        method: which one.
        events: rank and NLL of every event.
        held_out_nll: of the choose users: what may be looked at beforehand.
        choices: made on the choose users.
        fit_seconds, serve_seconds: of one core, for all users together.
        bytes_per_user: of state.
    """

    method: Method
    events: EventScores
    held_out_nll: float
    choices: Mapping[str, float]
    fit_seconds: float
    serve_seconds: float
    bytes_per_user: float


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One seed."""

    seed: int
    split: Split
    view: View
    outcomes: Mapping[str, Outcome]
    seconds: float
    bound: Bound | None = None
    drift: tuple[Drift, ...] = ()
    single: Single | None = None


def run(
    dataset: Dataset,
    settings: EvaluateSettings,
    seed: int,
    tell: OnProgress,
    methods: Sequence[Method] = METHODS,
) -> Run:
    """Fit on past users, measure on new ones. Takes minutes; the same seed gives the same numbers.

    Raises:
        InvalidInputError: too few users, or likes to predict, or a temporal split without a clock.
    """
    begun = time.process_time()
    split = make_split(dataset, settings, seed)
    ground = make_ground(split, dataset.vectors, settings, seed, dataset.clock)
    view = make_view(
        split.new,
        dataset.vectors,
        window=settings.window,
        decay=settings.decay,
        most=settings.events_per_user,
    )
    for side, seen in (("fitted", ground.fit), ("chosen on", ground.choose), ("new", view)):
        _check_events(side, seen)
    workshop = Workshop(ground, tell)
    chosen = [method for method in methods if dataset.clock or not method.clock]
    outcomes: dict[str, Outcome] = {}
    served: dict[str, Served] = {}
    for place, method in enumerate(chosen):
        tell("methods", place, len(chosen))
        served[method.key], outcomes[method.key] = _outcome(method, workshop, view)
    tell("methods", len(chosen), len(chosen))
    mixed = served.get(EVERYTHING)
    bound: Bound | None = None
    drift: tuple[Drift, ...] = ()
    single: Single | None = None
    if isinstance(mixed, Mixed):
        bound = largest_excess(mixed, view, outcomes[EVERYTHING].events)
        drift = after_drift(mixed, view, settings.resamples)
        single = best_single(mixed, view)
    return Run(seed, split, view, outcomes, time.process_time() - begun, bound, drift, single)


def _check_events(side: str, view: View) -> None:
    users = len(np.unique(view.events.user))
    if users < LEAST_USERS:
        wanted = f"at least {LEAST_USERS}: there is nothing to predict of the others"
        raise InvalidInputError(f"{side} users with two likes or more", users, wanted)


def _outcome(method: Method, workshop: Workshop, view: View) -> tuple[Served, Outcome]:
    made = sum(workshop.seconds.values())
    workshop.used.clear()
    started = time.process_time()
    served = method.fit(workshop)
    fitted = time.process_time()
    # What several methods share counts for each of them, whoever came first.
    shared = sum(workshop.seconds[name] for name in workshop.used)
    fit_seconds = fitted - started - (sum(workshop.seconds.values()) - made) + shared
    events = measure(view, served.logits(view), tilt=served.tilt(view))
    done = time.process_time()
    ground = workshop.ground
    flat = np.zeros_like(ground.log_prior)
    held_out = HeldOut(ground, served.logits(ground.choose), flat)
    return served, Outcome(
        method=method,
        events=events,
        held_out_nll=held_out.nll(UNCHANGED),
        choices=served.choices,
        fit_seconds=fit_seconds,
        serve_seconds=done - fitted,
        bytes_per_user=served.bytes_per_user,
    )
