"""Groups, consolidation and selection of skills."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lorabank.errors import EmbeddingSpaceError
from lorabank.skills import Episodes, fitting_skills, group_users, inherit_priors, superseded
from lorabank.skills import consolidate as consolidate_episodes
from lorabank.types.skill import ConsolidationCriteria, Evidence, Prior
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

SPACE = EmbeddingSpace("toy", 12)
NOW = 10_000.0
CRITERIA = ConsolidationCriteria(max_groups=3)


def consolidate(patterns, *arguments):
    return consolidate_episodes(Episodes.of(patterns), *arguments)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def users_of_tastes(rng, sizes, spread=0.3):
    """Unit contexts around one axis per taste, and each user's taste, shuffled."""
    tastes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return unit(np.eye(12)[tastes] + spread * rng.standard_normal((len(tastes), 12))), tastes


def episodes_of(make_pattern, rng, contexts, gains, count=4, **given):
    return [
        make_pattern(
            f"{user:03d}-{episode}",
            contexts[user] * rng.uniform(0.1, 10),
            user_key=f"u{user:03d}",
            gain=float(gains[user] + 0.05 * rng.standard_normal()),
            created_at=NOW - 100.0,
            **given,
        )
        for user in range(len(contexts))
        for episode in range(count)
    ]


@pytest.fixture
def three_tastes(make_pattern):
    """60 users of three tastes; adaptation helps the first, harms the second, and is noise else."""
    rng = np.random.default_rng(2)
    contexts, tastes = users_of_tastes(rng, (25, 20, 15), spread=0.15)
    patterns = episodes_of(make_pattern, rng, contexts, np.array([0.3, -0.3, 0.0])[tastes])
    return patterns, contexts, tastes


@pytest.mark.parametrize("seed", range(5))
def test_separate_tastes_become_groups(seed: int) -> None:
    contexts, tastes = users_of_tastes(np.random.default_rng(seed), (25, 20, 15), spread=0.1)
    everyone, *groups = group_users(contexts, 3, 5)
    assert (everyone.name, everyone.min_similarity, len(everyone.members)) == ("everyone", -1.0, 60)
    assert [group.name for group in groups] == ["group-1", "group-2", "group-3"]
    assert [np.unique(tastes[group.members]).tolist() for group in groups] == [[0], [1], [2]]
    for group in groups:
        inside = contexts[group.members] @ group.centroid >= group.min_similarity
        assert 0.85 <= inside.mean() < 1.0
        assert np.linalg.norm(group.centroid) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("users", "max_groups", "min_users"), [(60, 8, 5), (23, 8, 5), (200, 4, 9)]
)
def test_groups_are_limited_and_large_enough(users: int, max_groups: int, min_users: int) -> None:
    contexts = unit(np.random.default_rng(0).standard_normal((users, 12)))
    groups = group_users(contexts, max_groups, min_users)[1:]
    assert 1 < len(groups) <= max_groups
    assert min(len(group.members) for group in groups) >= min_users
    assert sorted(np.concatenate([g.members for g in groups]).tolist()) == list(range(users))


@pytest.mark.parametrize(("users", "max_groups"), [(1, 8), (19, 8), (100, 0), (100, 1)])
def test_too_few_users_or_groups_leave_everyone_alone(users: int, max_groups: int) -> None:
    contexts = unit(np.random.default_rng(0).standard_normal((users, 12)))
    assert len(group_users(contexts, max_groups, 5)) == 1


def test_contexts_without_any_difference_do_no_harm() -> None:
    for contexts in (np.zeros((40, 12)), np.tile(np.eye(12)[0], (40, 1))):
        groups = group_users(contexts, 8, 5)
        assert all(np.isfinite(group.centroid).all() for group in groups)


def test_a_group_passes_only_if_its_lower_bound_does(three_tastes) -> None:
    patterns, _, tastes = three_tastes
    skills = {s.id: s for s in consolidate(patterns, SPACE, "shop", CRITERIA, NOW)}
    assert list(skills) == ["mse/everyone", "mse/group-1", "mse/group-2", "mse/group-3"]
    by_taste = {}
    for skill in list(skills.values())[1:]:
        members = [int(key[1:]) for key in skill.user_keys]
        (taste,) = np.unique(tastes[members])
        by_taste[int(taste)] = skill
        assert skill.parent_id == "mse/everyone"
    assert by_taste[0].passed
    assert by_taste[0].evidence.lower > 0.2
    assert not by_taste[1].passed
    assert not by_taste[2].passed
    assert skills["mse/everyone"].parent_id is None
    assert skills["mse/everyone"].evidence.users == 60


def test_the_order_of_episodes_does_not_matter(three_tastes) -> None:
    patterns, _, _ = three_tastes
    shuffled = np.random.default_rng(9).permutation(np.array(patterns, object)).tolist()
    one, other = (consolidate(p, SPACE, "shop", CRITERIA, NOW) for p in (patterns, shuffled))
    for a, b in zip(one, other, strict=True):
        assert (a.id, a.user_keys, a.passed) == (b.id, b.user_keys, b.passed)
        assert a.evidence.mean == pytest.approx(b.evidence.mean)
        np.testing.assert_allclose(a.centroid, b.centroid, atol=1e-6)


def test_users_without_a_gain_seldom_make_a_skill(make_pattern) -> None:
    rng, runs = np.random.default_rng(4), 150
    false = 0
    for _ in range(runs):
        contexts, _ = users_of_tastes(rng, (20, 20))
        patterns = episodes_of(make_pattern, rng, contexts, 0.1 * rng.standard_normal(40), count=2)
        found = consolidate(patterns, SPACE, "shop", CRITERIA, NOW)
        false += any(skill.passed for skill in found)
    assert false / runs <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)


def test_old_unscored_and_too_few_episodes_are_left_out(three_tastes, make_pattern) -> None:
    patterns, _, _ = three_tastes
    old = [replace(p, id=f"old-{p.id}", created_at=1.0) for p in patterns]
    pending = [replace(p, id=f"new-{p.id}", outcome=None) for p in patterns]
    criteria = replace(CRITERIA, look_back=5_000.0)
    everyone = consolidate([*patterns, *old, *pending], SPACE, "shop", criteria, NOW)[0]
    assert everyone.evidence.episodes == len(patterns)
    for strict in ({"min_uses": 1000}, {"min_users": 61}):
        assert consolidate(patterns, SPACE, "shop", replace(CRITERIA, **strict), NOW) == ()
    assert consolidate([], SPACE, "shop", CRITERIA, NOW) == ()


def test_shares_of_success_and_rewards_can_be_asked_for(make_pattern) -> None:
    rng = np.random.default_rng(6)
    contexts, _ = users_of_tastes(rng, (9,))
    patterns = episodes_of(make_pattern, rng, contexts, np.full(9, 0.3))
    patterns += episodes_of(make_pattern, rng, contexts[:2], np.full(2, -0.2), rank=8)
    patterns = [replace(p, id=f"{n}") for n, p in enumerate(patterns)]
    cases = [
        ({}, True),
        ({"min_success_rate": 0.95}, False),
        ({"min_reward": 0.7}, False),
        ({"min_success_rate": 0.7, "min_reward": 0.55}, True),
    ]
    for given, passes in cases:
        (skill,) = consolidate(patterns, SPACE, "shop", replace(CRITERIA, **given), NOW)
        assert skill.passed is passes, given


def test_objectives_are_never_mixed(make_pattern) -> None:
    rng = np.random.default_rng(7)
    contexts, _ = users_of_tastes(rng, (9,))
    one = episodes_of(make_pattern, rng, contexts, np.full(9, 0.3))
    two = [replace(p, id=f"c{p.id}", objective="contrastive") for p in one[:28]]
    found = consolidate(one + two, SPACE, "shop", CRITERIA, NOW)
    assert [(s.id, s.evidence.episodes) for s in found] == [
        ("mse/everyone", 36),
        ("contrastive/everyone", 28),
    ]


def test_a_group_carries_the_hints_that_helped_in_it(make_pattern, make_trial) -> None:
    rng = np.random.default_rng(8)
    contexts, tastes = users_of_tastes(rng, (40, 40), spread=0.1)
    patterns = [
        replace(p, trial=make_trial({("steps", 2.0): 0.1 * (1 - 2 * taste) + rng.normal(0, 0.01)}))
        for taste, user in zip(tastes, range(80), strict=True)
        for p in episodes_of(make_pattern, rng, contexts[[user]], [0.3])
        for p in [replace(p, id=f"{user}-{p.id}", user_key=f"u{user:03d}")]
    ]
    found = consolidate(patterns, SPACE, "shop", replace(CRITERIA, max_groups=2), NOW)
    hinted = {int(tastes[int(s.user_keys[0][1:])]): s.hints.steps for s in found[1:]}
    assert hinted == {0: 2, 1: None}
    assert found[0].hints.steps is None


def test_skills_that_fit_come_most_specific_first(three_tastes) -> None:
    patterns, _, _ = three_tastes
    skills = consolidate(patterns, SPACE, "shop", CRITERIA, NOW)
    member = next(s for s in skills if s.id == "mse/group-1")
    fitting = fitting_skills(skills, SPACE, "mse", member.centroid * 40)
    assert [s.id for s in fitting] == ["mse/group-1", "mse/everyone"]
    for context in (None, np.zeros(12)):
        assert [s.id for s in fitting_skills(skills, SPACE, "mse", context)] == ["mse/everyone"]
    assert fitting_skills(skills, SPACE, "contrastive", member.centroid) == []
    assert fitting_skills(skills, replace(SPACE, name="other"), "mse", member.centroid) == []
    with pytest.raises(EmbeddingSpaceError):
        fitting_skills(skills, SPACE, "mse", np.ones(3))


def test_deeper_skills_come_first_and_circles_do_no_harm(three_tastes) -> None:
    root, child = consolidate(three_tastes[0], SPACE, "shop", CRITERIA, NOW)[:2]
    child = replace(child, id="a-child", min_similarity=-1.0)
    circle = [replace(root, id="x", parent_id="y"), replace(root, id="y", parent_id="x")]
    ids = [s.id for s in fitting_skills([root, child], SPACE, "mse", None)]
    assert ids == ["a-child", "mse/everyone"]
    assert [s.id for s in fitting_skills(circle, SPACE, "mse", None)] == ["x", "y"]


def with_prior(skill, users=("zoe",)):
    weights = Weights(np.ones((2, 12)), np.ones((12, 2)))
    prior = Prior(weights, 1.0, "lora", 1.0, 0.0, Evidence(0.1, 0.05, 0.2, 9, 90))
    return replace(skill, prior=prior, user_keys=users)


def test_weights_go_on_with_their_region_and_remember_their_users(three_tastes) -> None:
    everyone, *groups = consolidate(three_tastes[0], SPACE, "shop", CRITERIA, NOW)
    earlier = [with_prior(replace(groups[0], id="mse/group-7"))]
    new = inherit_priors([everyone, *groups], earlier)
    assert new[1].prior is earlier[0].prior
    assert "zoe" in new[1].user_keys
    assert [s.prior for s in (new[0], *new[2:])] == [None] * 3


def test_what_is_no_longer_supported_is_superseded(three_tastes) -> None:
    found = consolidate(three_tastes[0], SPACE, "shop", CRITERIA, NOW)
    stored = found[:2]
    earlier = [
        *found,
        with_prior(replace(found[3], id="mse/group-8")),
        replace(found[3], id="handmade"),
        replace(found[3], id="contrastive/group-1", objective="contrastive"),
    ]
    assert superseded(found, stored, earlier) == [found[2].id, found[3].id]
