"""From episodes to skills, with the evidence that decides whether they pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.ranges import spread
from lorabank.skills.episodes import Episodes
from lorabank.skills.grouping import EVERYONE, Group, group_users
from lorabank.statistics import choose_hints, clustered_means, effects_of
from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.hyperparameters import DEFAULTS, Hyperparameters
from lorabank.types.pattern import OBJECTIVES
from lorabank.types.skill import ConsolidationCriteria, Evidence, Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.trials import Trials

# A gain is at most 1 (no loss is left); a loss more than double the reference counts as double.
GAIN_LIMIT = 1.0


class _Part(NamedTuple):
    """The scored episodes of one group: the ``rows`` of each user in turn, ``counts`` of them."""

    objective: str
    group: Group
    users: list[str]
    rows: IntArray
    counts: IntArray


def consolidate(
    episodes: Episodes,
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
        episodes: of one namespace; those older than the look-back are left out.
        space: of their contexts.
        namespace: of the skills.
        criteria: when a group passes.
        now: unix seconds.

    Returns:
        per objective: everyone, then the groups, largest first.
    """
    parts = [part for part in _parts(episodes, criteria, now) if _is_enough(part, criteria)]
    level = 1.0 - (1.0 - criteria.confidence) / max(len(parts), 1)
    return tuple(
        _skill(episodes, part, space, namespace, criteria, level, now)
        for part in unhurried(parts, 1)
    )


def skill_id(objective: str, group: str) -> str:
    """The same group of the same objective always has the same id."""
    return f"{objective}/{group}"


def _parts(episodes: Episodes, criteria: ConsolidationCriteria, now: float) -> Iterator[_Part]:
    columns = episodes.columns
    recent = columns["created_at"] >= now - criteria.look_back
    for number, objective in enumerate(OBJECTIVES):
        rows = np.flatnonzero(recent & (columns["objective"] == number))
        if not len(rows):
            continue
        users, rows, first = _by_user(episodes.users, rows)
        contexts = np.stack(
            [
                _mean_context(episodes.contexts[rows[first[user] : first[user + 1]]])
                for user in unhurried(range(len(users)))
            ]
        )
        for group in group_users(contexts, criteria.max_groups, criteria.min_users):
            give_way()
            starts, counts = first[group.members], np.diff(first)[group.members]
            _, places = spread(starts, counts)
            names = [users[member] for member in group.members.tolist()]
            yield _Part(objective, group, names, rows[places], counts)


def _by_user(keys: Sequence[str], rows: IntArray) -> tuple[list[str], IntArray, IntArray]:
    """The users of these rows, sorted; their rows side by side, and where each user's begin."""
    of_row = [keys[row] for row in unhurried(rows.tolist(), 256)]
    users = sorted(set(of_row))
    give_way()
    number = {user: position for position, user in enumerate(users)}
    give_way()
    user = np.fromiter((number[key] for key in unhurried(of_row, 256)), np.int64, len(of_row))
    order = np.argsort(user, kind="stable")
    first = np.searchsorted(user[order], np.arange(len(users) + 1))
    return users, rows[order], first


def _mean_context(contexts: FloatArray) -> NDArray[np.float64]:
    """Unit mean of a user's unit contexts, so that a long vector does not count for more."""
    wide = contexts.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    mean = np.mean(wide / np.where(norms > 0, norms, 1.0), axis=0)
    norm = np.linalg.norm(mean)
    unit: NDArray[np.float64] = mean / norm if norm > 0 else mean
    return unit


def _is_enough(part: _Part, criteria: ConsolidationCriteria) -> bool:
    return len(part.rows) >= criteria.min_uses and len(part.users) >= criteria.min_users


def _skill(
    episodes: Episodes,
    part: _Part,
    space: EmbeddingSpace,
    namespace: str,
    criteria: ConsolidationCriteria,
    level: float,
    now: float,
) -> Skill:
    objective, group, users, rows, _ = part
    scored = episodes.columns[rows]
    evidence = _evidence(part, scored["gain"], level)
    trials = episodes.trials_of(rows)
    give_way()
    defaults = _usual_defaults(trials)
    effects = effects_of(trials, defaults, confidence=level)
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
        passed=evidence.lower > 0 and _reaches(scored, criteria),
        user_keys=tuple(users),
        created_at=now,
        parent_id=None if everyone else skill_id(objective, EVERYONE),
        hints=choose_hints(effects, defaults),
        effects=effects,
    )


def _evidence(part: _Part, gain: NDArray[np.float64], level: float) -> Evidence:
    gains = np.clip(gain, -GAIN_LIMIT, GAIN_LIMIT)
    users = np.repeat(np.arange(len(part.users)), part.counts)
    means = clustered_means(gains, np.zeros(len(gains)), users, group_count=1)
    lower, upper = means.interval(0, level)
    return Evidence(float(means.mean[0]), lower, upper, len(part.users), len(part.rows))


def _reaches(scored: NDArray[np.void], criteria: ConsolidationCriteria) -> bool:
    successes = float(np.mean(scored["success"]))
    reward = float(np.mean(scored["reward"]))
    return (criteria.min_success_rate is None or successes >= criteria.min_success_rate) and (
        criteria.min_reward is None or reward >= criteria.min_reward
    )


def _usual_defaults(trials: Trials) -> Hyperparameters:
    """The settings around which most trials ran."""
    usual = np.bincount(trials.facts["defaults"], minlength=len(trials.settings)).tolist()
    known = [
        (count, repr(found), found) for found, count in zip(trials.settings, usual, strict=True)
    ]
    used = [one for one in known if one[0]]
    return max(used, key=lambda one: one[:2])[2] if used else DEFAULTS
