"""How far each expert is trusted with a user at first, and what their mixture says of held-out
users: the proof of what is served to everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lorabank.config import MixtureConfig
from lorabank.numerics.mixture import new_mixture, observe
from lorabank.population.model import Expert
from lorabank.turns import unhurried
from lorabank.types.arrays import AnyFloatArray, IntArray

# Of the estimate: it has settled long before, unless experts say the same.
ROUNDS, SETTLED = 200, 1e-6


def best_expert(experts: Sequence[Expert]) -> int:
    """What a user's own chain stands on: the largest gain among those that look at the context at
    all."""
    looking = [k for k, expert in enumerate(experts) if expert.tau > 0]
    return max(looking, key=lambda k: experts[k].gain, default=0)


def prior_weights(experts: Sequence[Expert], base: int) -> tuple[float, ...]:
    """Weights of the experts, and of the user's own chain, which is trusted like the one at
    ``base``."""
    trust = np.array([*(expert.trust for expert in experts), experts[base].trust])
    return tuple((trust / trust.sum()).tolist())


def trusted(
    experts: Sequence[Expert], losses: Sequence[AnyFloatArray], user: IntArray
) -> tuple[Expert, ...]:
    """The experts, each trusted as far as held-out users bear it out.

    Args:
        experts: to be served together.
        losses: NLL of each on the same rows, (n,).
        user: (n,) whose row it is, ascending.
    """
    shares = user_shares(np.stack(losses, axis=1), user).tolist()
    return tuple(
        replace(expert, trust=share) for expert, share in zip(experts, shares, strict=True)
    )


def user_shares(losses: AnyFloatArray, user: IntArray) -> AnyFloatArray:
    """Share of the users whom each expert predicts best, (K,), summing to 1.

    These are the weights of a mixture of experts under which whole users are most likely: an
    empirical Bayes prior (Robbins 1956), found by the EM algorithm (Dempster, Laird & Rubin 1977,
    section 4.3). One made-up user for each expert is counted in (Laplace's rule of succession), so
    trust is as sharp as there are users to bear it out: with few it stays near to all alike, and of
    n users' K experts none has less than 1 / (n + K).

    Args:
        losses: NLL under each expert, (n, K), finite.
        user: (n,) whose row it is, ascending.
    """
    begins = np.flatnonzero(np.diff(user, prepend=-1))
    logs = -np.add.reduceat(losses, begins, axis=0)
    count = logs.shape[1]
    shares = np.full(count, 1.0 / count)
    for _ in unhurried(range(ROUNDS), 1):
        known = logs + np.log(shares)
        known -= known.max(axis=1, keepdims=True)
        np.exp(known, out=known)
        known /= known.sum(axis=1, keepdims=True)
        found = (known.sum(axis=0) + 1.0) / (len(logs) + count)
        moved, shares = np.abs(found - shares).max(), found
        if moved < SETTLED:
            break
    return shares


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
    prior = prior_weights(experts, base)
    values = -np.stack([*losses, losses[base]], axis=1)
    found = np.empty(len(user))
    begins = np.flatnonzero(np.diff(user, prepend=-1)).tolist()
    for begin, end in zip(unhurried(begins, 1), [*begins[1:], len(user)], strict=True):
        mixture = new_mixture(prior, config.identity_weight)
        _, scores = observe(mixture, values[begin:end].tolist(), prior, config.share)
        found[begin:end] = scores
    return -found
