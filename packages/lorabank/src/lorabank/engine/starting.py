"""How a new adapter starts: as the identity, or from the weights of a skill that fits."""

from __future__ import annotations

import numpy as np

from lorabank.adaptation.anchoring import first_anchor
from lorabank.adapter import Adapter, lora_scale
from lorabank.config import EngineConfig
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import initial_matrices
from lorabank.numerics.merging import merge_products
from lorabank.types.skill import Prior, Skill
from lorabank.types.weights import Weights


def identity_adapter(config: EngineConfig, user_id: str, rng: np.random.Generator) -> Adapter:
    """An adapter that changes nothing yet: B is zero."""
    weights = Weights(*initial_matrices(rng, config.rank, config.space.dim))
    return _new(config, user_id, weights, config.contrastive.calibration)


def adapter_from_skill(config: EngineConfig, user_id: str, skill: Skill) -> Adapter:
    """An adapter that starts from the skill's prior, at the engine's own rank and scale.

    Raises:
        ValueError: the skill holds no weights.
    """
    prior = skill.prior
    if prior is None:
        raise ValueError(f"skill {skill.id!r} holds no weights to start from")
    calibration = Calibration(prior.tau, prior.prior_weight)
    return _new(config, user_id, prior_weights(prior, config), calibration, (skill.id,))


def prior_weights(prior: Prior, config: EngineConfig) -> Weights:
    """The prior's weights as they are if rank and scale agree, else their best approximation."""
    scale = lora_scale(config.effective_alpha, config.rank, config.scaling)
    own = lora_scale(prior.alpha, prior.weights.rank, prior.scaling)
    if prior.weights.rank == config.rank and own == scale:
        return prior.weights
    pair = (prior.weights.A, prior.weights.B)
    A, B = merge_products([pair], [own / scale], config.rank)
    return Weights(A.astype(np.float32), B.astype(np.float32))


def _new(
    config: EngineConfig,
    user_id: str,
    weights: Weights,
    calibration: Calibration,
    skill_ids: tuple[str, ...] = (),
) -> Adapter:
    held = config.defaults.ewc_strength > 0
    return Adapter(
        user_id=user_id,
        weights=weights,
        alpha=config.effective_alpha,
        scaling=config.scaling,
        objective=config.objective,
        space=config.space,
        tau=calibration.tau,
        prior_weight=calibration.prior_weight,
        skill_ids=skill_ids,
        anchor=first_anchor(weights, config.objective) if held else None,
    )
