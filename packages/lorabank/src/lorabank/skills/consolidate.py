"""From episodes to skills, with the evidence that decides whether they pass."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.skills.grouping import EVERYONE, Group, group_users
from lorabank.statistics import arm_effects, choose_hints, clustered_means
from lorabank.turns import unhurried
from lorabank.types.hyperparameters import DEFAULTS, Hyperparameters
from lorabank.types.pattern import OBJECTIVES, Outcome, Pattern
from lorabank.types.skill import ConsolidationCriteria, Evidence, Skill
from lorabank.types.space import EmbeddingSpace

# A gain is at most 1 (no loss is left); a loss more than double the reference counts as double.
GAIN_LIMIT = 1.0


class _Part(NamedTuple):
    """The scored episodes of one group."""

    objective: str
    group: Group
    users: list[str]
    episodes: list[tuple[Pattern, Outcome]]


def consolidate(
    patterns: Iterable[Pattern],
    space: EmbeddingSpace,
    namespace: str,
    criteria: ConsolidationCriteria,
    now: float,
) -> tuple[Skill, ...]:
    """Every group with enough episodes and users, as a skill; ``passed`` says whether to keep it.

    A group passes if the lower bound of its mean gain over identity (users as clusters, corrected
    for the number of groups looked at) is above zero, and its share of successes and its mean
    reward reach what the criteria ask for. Deterministic. May take seconds for thousands of users:
    call it in a worker thread.

    Args:
        patterns: of one namespace; those without an outcome or older than the look-back are left
            out.
        space: of their contexts.
        namespace: of the skills.
        criteria: when a group passes.
        now: unix seconds.

    Returns:
        per objective: everyone, then the groups, largest first.
    """
    parts = [part for part in _parts(patterns, criteria, now) if _is_enough(part, criteria)]
    level = 1.0 - (1.0 - criteria.confidence) / max(len(parts), 1)
    return tuple(
        _skill(part, space, namespace, criteria, level, now) for part in unhurried(parts, 1)
    )


def skill_id(objective: str, group: str) -> str:
    """The same group of the same objective always has the same id."""
    return f"{objective}/{group}"


def _parts(
    patterns: Iterable[Pattern], criteria: ConsolidationCriteria, now: float
) -> Iterable[_Part]:
    by_objective: defaultdict[str, dict[str, list[tuple[Pattern, Outcome]]]]
    by_objective = defaultdict(lambda: defaultdict(list))
    for pattern in unhurried(patterns):
        if pattern.outcome is not None and pattern.created_at >= now - criteria.look_back:
            by_user = by_objective[pattern.objective]
            by_user[pattern.user_key].append((pattern, pattern.outcome))
    for objective in OBJECTIVES:
        episodes = by_objective.get(objective)
        if episodes:
            users = sorted(episodes)
            contexts = np.stack([_mean_context(episodes[user]) for user in unhurried(users)])
            for group in group_users(contexts, criteria.max_groups, criteria.min_users):
                names = [users[member] for member in group.members]
                yield _Part(
                    objective, group, names, [e for n in unhurried(names) for e in episodes[n]]
                )


def _mean_context(episodes: Sequence[tuple[Pattern, Outcome]]) -> NDArray[np.float64]:
    """Unit mean of a user's unit contexts, so that a long vector does not count for more."""
    contexts = np.stack([pattern.context for pattern, _ in episodes]).astype(np.float64)
    norms = np.linalg.norm(contexts, axis=1, keepdims=True)
    mean = np.mean(contexts / np.where(norms > 0, norms, 1.0), axis=0)
    norm = np.linalg.norm(mean)
    unit: NDArray[np.float64] = mean / norm if norm > 0 else mean
    return unit


def _is_enough(part: _Part, criteria: ConsolidationCriteria) -> bool:
    return len(part.episodes) >= criteria.min_uses and len(part.users) >= criteria.min_users


def _skill(
    part: _Part,
    space: EmbeddingSpace,
    namespace: str,
    criteria: ConsolidationCriteria,
    level: float,
    now: float,
) -> Skill:
    objective, group, users, episodes = part
    evidence = _evidence(part, level)
    patterns = [pattern for pattern, _ in unhurried(episodes)]
    defaults = _usual_defaults(patterns)
    effects = arm_effects(patterns, defaults, confidence=level)
    everyone = group.name == EVERYONE
    return Skill(
        id=skill_id(objective, group.name),
        namespace=namespace,
        name=f"{group.name} ({objective}, {len(users)} users)",
        space=space,
        objective=objective,
        centroid=group.centroid.astype(np.float32),
        min_similarity=group.min_similarity,
        evidence=evidence,
        passed=evidence.lower > 0 and _reaches(episodes, criteria),
        user_keys=tuple(users),
        created_at=now,
        parent_id=None if everyone else skill_id(objective, EVERYONE),
        hints=choose_hints(effects, defaults),
        effects=effects,
    )


def _evidence(part: _Part, level: float) -> Evidence:
    gains = np.clip([o.gain for _, o in unhurried(part.episodes)], -GAIN_LIMIT, GAIN_LIMIT)
    number = {user: position for position, user in enumerate(part.users)}
    users = [number[pattern.user_key] for pattern, _ in unhurried(part.episodes)]
    means = clustered_means(gains, np.zeros(len(gains)), users, group_count=1)
    lower, upper = means.interval(0, level)
    return Evidence(float(means.mean[0]), lower, upper, len(part.users), len(part.episodes))


def _reaches(episodes: Sequence[tuple[Pattern, Outcome]], criteria: ConsolidationCriteria) -> bool:
    successes = float(np.mean([outcome.success for _, outcome in unhurried(episodes)]))
    reward = float(np.mean([outcome.reward for _, outcome in unhurried(episodes)]))
    return (criteria.min_success_rate is None or successes >= criteria.min_success_rate) and (
        criteria.min_reward is None or reward >= criteria.min_reward
    )


def _usual_defaults(patterns: Sequence[Pattern]) -> Hyperparameters:
    """The settings around which most trials ran."""
    usual = Counter(p.trial.defaults for p in unhurried(patterns) if p.trial is not None)
    return max(usual, key=lambda settings: (usual[settings], repr(settings)), default=DEFAULTS)
