"""How a new adapter starts: as the identity, or from the weights of a skill that fits."""

from __future__ import annotations

import anyio
import numpy as np

from lorabank.adaptation.anchoring import first_anchor
from lorabank.adapter import Adapter, lora_scale
from lorabank.config import EngineConfig
from lorabank.engine.connection import Connection
from lorabank.logs import get_logger
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import initial_matrices
from lorabank.numerics.merging import merge_products
from lorabank.skills import fitting_skills
from lorabank.types.arrays import FloatArray
from lorabank.types.skill import Prior, Skill
from lorabank.types.weights import Weights
from lorabank.waiting import apart, patience

log = get_logger(__name__)


def identity_adapter(config: EngineConfig, user_id: str, rng: np.random.Generator) -> Adapter:
    """An adapter that changes nothing yet: B is zero."""
    weights = Weights(*initial_matrices(rng, config.rank, config.space.dim))
    return _new(config, user_id, weights, config.contrastive.calibration)


async def skill_to_start_from(
    config: EngineConfig, connection: Connection | None, context: FloatArray
) -> Skill | None:
    """The most specific skill with weights for this context.

    None if there is none, and without a bank that answers within the budget of a query.
    """
    if connection is None or connection.degraded:
        return None
    try:
        with anyio.move_on_after(patience(config.query.budget)):
            skills = await apart("skills", connection.bank.skills, config.namespace)
            fitting = fitting_skills(skills, config.space, config.objective, context)
            return next((skill for skill in fitting if isinstance(skill.prior, Prior)), None)
    except Exception as exc:  # noqa: BLE001 - whatever a bank raises, users still start
        log.warning("skills are not available, starting as the identity", error=repr(exc))
        connection.breaker.failure()
        return None
    # Slow is not broken: queries, which have longer, decide that.
    log.warning("skills took too long, starting as the identity")
    return None


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
