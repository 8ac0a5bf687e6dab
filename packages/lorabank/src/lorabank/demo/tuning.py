"""Everything that is chosen: on past users alone, before anyone new has come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.demo.protocol import Protocol
from lorabank.demo.settings import DemoSettings
from lorabank.evaluation.baselines import (
    POPULARITY_ONLY,
    Blend,
    fit_temperature,
    fit_weights,
    tune_blend,
)
from lorabank.evaluation.folds import Fold, make_folds
from lorabank.numerics.contrastive import Calibration


@dataclass(frozen=True, slots=True)
class Tuned:
    """Baselines and their calibrations.

    Attributes:
        blend: the frozen blend that ranks best, its weights as chosen.
        blend_calibration: the same ranking with calibrated temperature.
        popularity: calibrated.
        identity: the frozen embeddings with the weights of maximum likelihood; what adapters
            start from and are compared with.
    """

    blend: Blend
    blend_calibration: Calibration
    popularity: Calibration
    identity: Calibration


def tune(protocol: Protocol, settings: DemoSettings) -> Tuned:
    """Cross-validation over past users. Takes seconds: call it in a worker thread."""
    by_decay = {decay: _folds(protocol, settings, decay) for decay in settings.decays}
    blend = tune_blend(protocol.log, by_decay, protocol.items)
    few = settings.calibration_events
    own = _folds(protocol, settings, settings.decay, few)
    blends = _folds(protocol, settings, blend.decay, few)
    log, items = protocol.log, protocol.items
    return Tuned(
        blend=blend,
        blend_calibration=fit_temperature(log, blends, items, blend.calibration),
        popularity=fit_temperature(log, own, items, POPULARITY_ONLY),
        identity=fit_weights(log, own, items, Calibration(4.0, 1.0)),
    )


def _folds(
    protocol: Protocol, settings: DemoSettings, decay: float, per_user: int | None = None
) -> tuple[Fold, ...]:
    """The same users and events for every decay: the draw does not depend on it."""
    return make_folds(
        protocol.log,
        protocol.with_decay(decay),
        protocol.split.past,
        protocol.items,
        np.random.default_rng([settings.seed, 4]),
        per_user=per_user or settings.tuning_events,
    )
