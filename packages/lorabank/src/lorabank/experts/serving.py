"""What the mixture answers: probabilities of items, and one vector for an index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.adaptation.mixing import mixture_of
from lorabank.adapter import Adapter
from lorabank.config import MixtureConfig
from lorabank.experts.bound import BoundExperts
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray
from lorabank.types.mixture import ExpertState


@dataclass(frozen=True, slots=True)
class ExpertWeights:
    """How far each expert is trusted with a user.

    Attributes:
        names: the identity first, the user's own chain last.
        weights: that the probabilities are mixed with, summing to 1.
        observed: events of the user that they come from.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    observed: int

    def explain(self) -> str:
        """A list for people: the heaviest first."""
        pairs = sorted(zip(self.weights, self.names, strict=True), key=lambda pair: -pair[0])
        lines = [f"after {self.observed} events"]
        return "\n".join(lines + [f"{weight:6.1%}  {name}" for weight, name in pairs])


def trust(state: ExpertState | None, experts: BoundExperts, config: MixtureConfig) -> ExpertWeights:
    """The weights that the user of an adapter in this state is served with."""
    mixture = mixture_of(state, experts, config)
    return ExpertWeights(experts.names, mixture.served, mixture.observed)


def mixed_log_probabilities(
    adapter: Adapter,
    experts: BoundExperts,
    context: FloatArray,
    positions: IntArray | None,
    recent: tuple[int, ...] | None,
    config: MixtureConfig,
) -> AnyFloatArray:
    """Log of the mixture's probability of each candidate among all of them, (m,).

    Args:
        adapter: of the user.
        experts: of the population.
        context: (dim,).
        positions: of the candidates (m,), or None for the whole pool; a repeated one counts once.
        recent: positions of the items liked last, newest first; None: as the adapter knows them.
        config: of the mixture.
    """
    X = context[None, :]
    newest, places = np.array([_last(adapter, recent)], np.int64), None
    if positions is not None:
        positions, places = np.unique(positions, return_inverse=True)
    scores = experts.score(X, newest, positions)
    tau = np.float32(experts.base_tau)
    own = scores.offset[0] + tau * (scores.vectors @ adapter.transform(scores.X)[0])
    mixed = _mix(np.vstack([scores.logits[:, 0], own]), trust(adapter.experts, experts, config))
    return mixed if places is None else mixed[places]


def ranking_tilt(
    adapter: Adapter,
    experts: BoundExperts,
    positions: IntArray | None,
    recent: tuple[int, ...] | None,
) -> FloatArray | None:
    """What the ranking of the candidates adds to their log probabilities, (m,); None: nothing.

    Args:
        adapter, experts, positions, recent: as for `mixed_log_probabilities`.
    """
    places: IntArray | slice = slice(None)
    if positions is not None:
        positions, places = np.unique(positions, return_inverse=True)
    found = experts.scorer.tilt(np.array([_last(adapter, recent)], np.int64), positions)
    return None if found is None else found[0][places]


def mixed_vector_log_probabilities(
    adapter: Adapter,
    experts: BoundExperts,
    context: FloatArray,
    vectors: FloatArray,
    config: MixtureConfig,
) -> AnyFloatArray:
    """The same for items that only the caller knows, as vectors (m, dim).

    They have neither popularity nor biases nor neighbours.
    """
    outputs = _outputs(adapter, experts, context[None, :])
    logits = [np.float32(tau) * (vectors @ y[0]) for tau, y in outputs]
    return _mix(np.stack(logits), trust(adapter.experts, experts, config))


def mixed_transform(
    adapter: Adapter, experts: BoundExperts, X: FloatArray, config: MixtureConfig
) -> FloatArray:
    """One vector per context for an index of `BoundExperts.item_vectors`, float32 (n, dim).

    The geometric mixture of the experts has the logit ``sum_k w_k tau_k <y_k, e>``, so its vector
    is the mean of the experts' outputs with the weights ``w_k tau_k``. Popularity, biases and
    neighbours are not in it.
    """
    weights = trust(adapter.experts, experts, config).weights
    total, mean = 0.0, np.zeros_like(X)
    for k, (tau, Y) in enumerate(_outputs(adapter, experts, X)):
        total += weights[k] * tau
        mean += np.float32(weights[k] * tau) * Y
    if total == 0:
        return X
    mean /= np.float32(total)
    return mean


def _last(adapter: Adapter, recent: tuple[int, ...] | None) -> tuple[int, ...]:
    if recent is not None:
        return recent
    return adapter.experts.recent if adapter.experts is not None else ()


def _mix(logits: FloatArray, trusted: ExpertWeights) -> AnyFloatArray:
    """Log of the weighted sum of the experts' softmaxes, (K, m) -> (m,)."""
    with np.errstate(divide="ignore"):  # a weight may be zero in float64
        shift = np.log(trusted.weights) - log_sum_exp(logits.astype(np.float64))
    return log_sum_exp((logits + shift[:, None]).T)


def _outputs(
    adapter: Adapter, experts: BoundExperts, X: FloatArray
) -> list[tuple[float, FloatArray]]:
    """(tau, output) of every expert, the user's own chain last."""
    found = [(e.tau, experts.output(e.adapter, X)) for e in experts.experts]
    return [*found, (experts.base_tau, adapter.transform(experts.base_output(X)))]
