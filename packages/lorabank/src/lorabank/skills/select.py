"""Which skills fit a context."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lorabank.errors import EmbeddingSpaceError
from lorabank.types.arrays import FloatArray, as_vector
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace

_EVERYONE = -1.0


def fitting_skills(
    skills: Iterable[Skill],
    space: EmbeddingSpace,
    objective: str,
    context: FloatArray | None,
) -> list[Skill]:
    """Skills of this space and objective whose region the context lies in, most specific first.

    Args:
        skills: of one namespace.
        space: the engine's.
        objective: the engine's.
        context: float (dim,), of any length; None or zeros fit only the skills for everyone.

    Returns:
        ordered by ``min_similarity`` (highest first), then by depth below the root, then by id.

    Raises:
        EmbeddingSpaceError: the context has another dimension.
    """
    candidates = {s.id: s for s in skills if s.space == space and s.objective == objective}
    unit = _unit(context, space)
    fitting = [skill for skill in candidates.values() if _contains(skill, unit)]
    return sorted(fitting, key=lambda s: (-s.min_similarity, -_depth(s, candidates), s.id))


def _unit(context: FloatArray | None, space: EmbeddingSpace) -> FloatArray | None:
    if context is None:
        return None
    vector = as_vector(context, "context").astype(np.float64)
    if len(vector) != space.dim:
        raise EmbeddingSpaceError(f"a context of dimension {len(vector)} is not of {space}")
    norm = np.linalg.norm(vector)
    return (vector / norm).astype(np.float32) if norm > 0 else None


def _contains(skill: Skill, unit: FloatArray | None) -> bool:
    if skill.min_similarity <= _EVERYONE:
        return True
    return unit is not None and float(unit @ skill.centroid) >= skill.min_similarity


def _depth(skill: Skill, known: dict[str, Skill]) -> int:
    """Parents above a skill; a chain that is broken, or runs in a circle, ends there."""
    seen = {skill.id}
    while skill.parent_id in known and skill.parent_id not in seen:
        skill = known[skill.parent_id]
        seen.add(skill.id)
    return len(seen) - 1
