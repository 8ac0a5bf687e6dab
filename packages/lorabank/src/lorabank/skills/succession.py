"""What a new consolidation takes over from the skills before it, and which of them it retires."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lorabank.skills.consolidate import skill_id
from lorabank.types.skill import Skill

# Two groups with centroids this alike are the same region, so weights trained for one fit the
# other until they are trained anew.
_SAME_REGION = 0.95


def inherit_priors(skills: Iterable[Skill], earlier: Sequence[Skill]) -> list[Skill]:
    """New skills with the prior weights of the earlier skill for the same region, if there is one.

    The users behind the weights are added to ``user_keys``, so that forgetting one of them removes
    the weights too.
    """
    return [_inherit(skill, earlier) for skill in skills]


def superseded(
    skills: Sequence[Skill], stored: Sequence[Skill], earlier: Iterable[Skill]
) -> list[str]:
    """Ids of earlier results of consolidation that the new one no longer supports.

    Those with prior weights stay: weights are kept by held-out evidence, not by this. So do skills
    of objectives that were not looked at, and skills that came from elsewhere.

    Args:
        skills: what the new consolidation found, passed or not.
        stored: those of them that are kept.
        earlier: what the bank holds.
    """
    objectives = {skill.objective for skill in skills}
    kept = {skill.id for skill in stored}
    return [
        skill.id
        for skill in earlier
        if skill.objective in objectives
        and skill.id.startswith(skill_id(skill.objective, ""))
        and skill.id not in kept
        and skill.prior is None
    ]


def _inherit(skill: Skill, earlier: Sequence[Skill]) -> Skill:
    likeness = [(float(old.centroid @ skill.centroid), old) for old in earlier if _fits(old, skill)]
    best, source = max(likeness, key=lambda pair: pair[0], default=(-1.0, None))
    if source is None or best < _SAME_REGION:
        return skill
    users = tuple(sorted({*skill.user_keys, *source.user_keys}))
    return replace(skill, prior=source.prior, user_keys=users)


def _fits(old: Skill, new: Skill) -> bool:
    same_kind = old.space == new.space and old.objective == new.objective
    same_reach = (old.parent_id is None) == (new.parent_id is None)
    return old.prior is not None and same_kind and same_reach
