"""How far each expert is trusted with a user at first, and what their mixture says of held-out
users: the proof of what is served to everyone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lorabank.config import MixtureConfig
from lorabank.numerics.mixture import new_mixture, observe
from lorabank.population.model import Expert
from lorabank.turns import unhurried
from lorabank.types.arrays import AnyFloatArray, IntArray

# Share of the prior weight that is the same for every expert, whatever held-out users say.
UNIFORM = 0.1


def best_expert(experts: Sequence[Expert]) -> int:
    """What a user's own chain stands on: the largest gain among those that look at the context at
    all."""
    looking = [k for k, expert in enumerate(experts) if expert.tau > 0]
    return max(looking, key=lambda k: experts[k].gain, default=0)


def prior_weights(experts: Sequence[Expert], base: int, events: float) -> tuple[float, ...]:
    """Weights of the experts, and of the user's own chain on the one at ``base``, as if each had
    predicted ``events`` already, as well as held-out users' events."""
    gains = np.array([*(expert.gain for expert in experts), experts[base].gain])
    earned = np.exp(events * (gains - gains.max()))
    weights = (1.0 - UNIFORM) * earned / earned.sum() + UNIFORM / len(gains)
    return tuple((weights / weights.sum()).tolist())


def mixed_losses(
    experts: Sequence[Expert],
    losses: Sequence[AnyFloatArray],
    user: IntArray,
    config: MixtureConfig,
) -> AnyFloatArray:
    """NLL of each row under the mixture that a new user is served with, (n,), in nats.

    The user's own chain has learned nothing yet: it says what it stands on.

    Args:
        experts: the identity first.
        losses: of each expert, (n,).
        user: (n,) whose row it is; each user's rows together and in order of time.
        config: of the mixture.
    """
    base = best_expert(experts)
    prior = prior_weights(experts, base, config.prior_events)
    values = -np.stack([*losses, losses[base]], axis=1)
    found = np.empty(len(user))
    begins = np.flatnonzero(np.diff(user, prepend=-1)).tolist()
    for begin, end in zip(unhurried(begins, 1), [*begins[1:], len(user)], strict=True):
        mixture = new_mixture(prior, config.identity_weight)
        _, scores = observe(mixture, values[begin:end].tolist(), prior, config.share)
        found[begin:end] = scores
    return -found
