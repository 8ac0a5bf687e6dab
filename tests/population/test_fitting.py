"""Training of a population: what it learns, what it keeps, and what it never does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
from tests.population.worlds import DIM, ITEMS, PRIOR, QUICK, SPACE, World

from lorabank import Feedback, InvalidInputError, ItemPool
from lorabank.config import ContrastiveConfig, MixtureConfig, PopulationConfig
from lorabank.experts import BoundExperts
from lorabank.numerics.mixture import new_mixture, observe
from lorabank.population import (
    Expert,
    Population,
    PopulationProgress,
    PopulationReport,
    PopulationScorer,
    collect_rows,
    fit_population,
    recent_likes,
)
from lorabank.population.court import Court
from lorabank.population.experts import Candidate
from lorabank.population.ground import Ground, make_ground
from lorabank.population.neighbour_training import choose_table, count
from lorabank.population.predictor import Predictor
from lorabank.population.trust import mixed_losses, trusted, user_shares
from lorabank.types.arrays import AnyFloatArray, IntArray

WORLD = World()


@pytest.fixture(scope="module")
def fitted() -> tuple[Population, PopulationReport]:
    return WORLD.fit()


def nll_of_new_users(population: Population, name: str) -> float:
    """Exact, of users who are in nothing."""
    world = World(users=60, seed=77)
    rows = world.rows
    assert rows.items is not None
    everything = np.arange(len(rows))
    liked = np.ones(len(rows), np.bool_)
    recent = recent_likes(rows.user, rows.items, liked, everything, 20)
    scorer = PopulationScorer(population, WORLD.pool)
    logits = scorer.logits(name, scorer.transform(name, rows.x), recent).astype(np.float64)
    logits[rows.earlier_items(everything)] = -np.inf
    again = np.isinf(logits[everything, rows.items])
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[everything, rows.items]
    return float(losses[~again].mean())


def test_what_the_text_does_not_tell_is_learned(
    fitted: tuple[Population, PopulationReport],
) -> None:
    population, report = fitted
    assert population.names[0] == "identity"
    assert {"neighbours", "shared+residuals", "shared+residuals+neighbours"} <= set(
        population.names
    )
    losses = {name: nll_of_new_users(population, name) for name in population.names}
    assert losses["shared+residuals"] < losses["identity"] - 0.1
    assert losses["neighbours"] < losses["identity"] - 0.5
    assert losses["shared+residuals+neighbours"] < losses["identity"] - 0.5
    for expert, found in zip(population.experts, report.experts, strict=False):
        if expert.name == found.name:
            assert found.nll - report.experts[0].nll == pytest.approx(-expert.gain)


def test_the_report_says_what_was_tried_and_why(
    fitted: tuple[Population, PopulationReport],
) -> None:
    population, report = fitted
    assert report.reason == ""
    assert report.users == len(WORLD.feedback)
    assert {e.name for e in report.experts if e.kept} == set(population.names)
    identity, *others = report.experts
    assert (identity.parent, identity.evidence) == (None, None)
    held_out = round(PRIOR.held_out / 2 * report.users)
    for expert in others:
        assert expert.evidence is not None
        assert expert.evidence.lower <= expert.evidence.mean <= expert.evidence.upper
        assert abs(expert.evidence.users - held_out) < 15, "held-out users alone"
        assert 0 <= expert.ndcg <= 1
    assert report.choices["rank"] == 2
    assert report.choices["residuals.learning_rate"] in QUICK.residuals.learning_rates
    assert report.seconds.keys() >= {"shared", "residuals", "neighbours", "refit"}


def test_the_same_seed_gives_the_same_bits(fitted: tuple[Population, PopulationReport]) -> None:
    again, _ = WORLD.fit()
    assert again.to_bytes() == fitted[0].to_bytes()
    other, _ = WORLD.fit(seed=1)
    assert other.id != again.id


def test_items_without_users_keep_their_vector(fitted: tuple[Population, PopulationReport]) -> None:
    population, _ = fitted
    assert population.residuals is not None
    assert population.residuals.items.max() < ITEMS - 8
    vectors = population.residuals.item_vectors(WORLD.pool)
    np.testing.assert_array_equal(vectors[-8:], WORLD.pool.vectors[-8:])
    assert population.neighbours is not None
    assert population.neighbours.items.max() < ITEMS - 8


def test_everyone_behind_it_is_named(fitted: tuple[Population, PopulationReport]) -> None:
    assert set(fitted[0].user_keys) == set(WORLD.feedback)


def test_too_few_users_leave_the_identity_alone() -> None:
    few = World(users=12)
    population, report = few.fit()
    assert population.names == ("identity",)
    assert "too few users" in report.reason
    assert population.user_keys == ()
    assert Population.from_bytes(population.to_bytes()).id == population.id


def test_parts_can_be_switched_off() -> None:
    config = replace(
        QUICK,
        residuals=replace(QUICK.residuals, enabled=False),
        neighbours=replace(QUICK.neighbours, enabled=False),
        transitions=replace(QUICK.transitions, enabled=False),
    )
    population, report = WORLD.fit(config=config)
    assert population.residuals is None
    assert population.neighbours is None
    assert population.transitions is None
    assert population.lean is None
    assert population.tilt == 0
    names = [expert.name for expert in report.experts]
    assert names == ["identity", "popularity", "shared"]


def test_a_rank_above_the_dimension_counts_as_the_dimension() -> None:
    off = replace(QUICK.residuals, enabled=False)
    _, report = WORLD.fit(config=replace(QUICK, ranks=(2, 64), residuals=off))
    assert {name for name in report.losses if name.startswith("rank")} == {"rank=2", f"rank={DIM}"}
    best = min((report.losses[f"rank={rank}"], rank) for rank in (2, DIM))
    assert report.choices["rank"] == best[1]


def test_nothing_is_learned_where_there_is_nothing_to_learn() -> None:
    """Items at random: an expert that is kept must have beaten its parent by luck alone."""
    world = World()
    rng = np.random.default_rng(5)
    for key, [life] in world.feedback.items():
        items = rng.integers(ITEMS, size=len(life))
        world.feedback[key] = [Feedback(life.x, items=items)]
    population, _ = world.fit(contrastive=ContrastiveConfig())
    assert "shared+residuals" not in population.names


def test_groups_are_kept_only_with_proof() -> None:
    keys = sorted(WORLD.feedback)
    groups = {"half": keys[::2], "tiny": keys[:5]}
    _, report = WORLD.fit(groups=groups, prior=replace(PRIOR, refine_epochs=1))
    names = [expert.name for expert in report.experts]
    assert "group:tiny" not in names
    for expert in report.experts:
        if expert.name.startswith("group:"):
            assert expert.evidence is not None
            assert expert.evidence.lower > 0 or not expert.kept


@lru_cache
def opinions() -> tuple[Ground, Predictor, Predictor]:
    """Held-out users, the identity, and what is better than it for everyone."""
    ground = make_ground(WORLD.rows, WORLD.pool, QUICK, PRIOR, ContrastiveConfig())
    identity = Predictor(None, ground.pool.vectors).calibrated(ground, ground.stop)[0]
    table = choose_table(ground, count(ground, ground.fit, QUICK), identity, QUICK, lambda: None)
    return ground, identity, identity.beside(table.table).calibrated(ground, ground.stop)[0]


def hearing(groups: int = 0) -> tuple[Court, list[Expert]]:
    """A court that has kept the identity alone."""
    ground, identity, _ = opinions()
    court = Court(ground, 0.95, groups)
    expert = court.judge(Candidate("identity", None, False, None, identity)).expert
    assert expert is not None
    return court, [expert]


HALF = np.arange(len(WORLD.feedback)) % 2 == 0


def test_a_group_must_beat_as_many_users_at_random() -> None:
    """What helps everyone is no gain of the group's: it beats the parent, and not its control."""
    _, identity, better = opinions()
    court, served = hearing()
    group = Candidate("group:g", None, False, "identity", better, control=identity)
    assert court.judge_group(group, HALF, served).expert is not None
    against = court.judge_group(replace(group, control=better), HALF, served)
    assert against.expert is None
    assert against.report.evidence is not None
    assert against.report.evidence.lower > 0
    assert against.report.reason == "not better than with as many users at random"


@dataclass(frozen=True, slots=True)
class Composed(Predictor):
    """Another predictor for the users of HALF than for the others."""

    half: Predictor | None = None
    others: Predictor | None = None

    def judge(self, ground: Ground, positions: IntArray) -> tuple[AnyFloatArray, AnyFloatArray]:
        """Of whichever it is."""
        assert self.half is not None
        assert self.others is not None
        mine, theirs = (p.judge(ground, positions) for p in (self.half, self.others))
        half = HALF[ground.rows.user[positions]]
        return np.where(half, mine[0], theirs[0]), np.where(half, mine[1], theirs[1])


def test_everyone_must_be_better_off_with_a_group_than_with_users_at_random() -> None:
    """A control that is nearly as good for the group, and better for the others."""
    _, identity, better = opinions()
    assert better.weights is not None
    weak = replace(better, weights=(*better.weights[:-1], 0.8 * better.weights[-1]))

    def composed(half: Predictor, others: Predictor) -> Predictor:
        return Composed(None, None, weights=(0.0,), half=half, others=others)

    court, served = hearing()
    group = Candidate("group:g", None, False, "identity", composed(better, identity))
    group = replace(group, control=composed(weak, better))
    verdict = court.judge_group(group, HALF, served)
    assert verdict.expert is None
    assert verdict.report.reason == "everyone is as well off with as many users at random"
    assert (
        court.judge_group(replace(group, control=composed(weak, identity)), HALF, served).expert
        is not None
    )


def test_a_group_must_be_worth_its_place_in_the_mixture_that_serves_everyone() -> None:
    """Its own users gain on its parent; but another expert is better for everyone already."""
    _, identity, better = opinions()
    assert better.weights is not None
    weak = replace(better, weights=(*better.weights[:-1], 0.2 * better.weights[-1]))
    court, served = hearing()
    known = court.judge(Candidate("known", None, False, "identity", better)).expert
    assert known is not None
    group = Candidate("group:g", None, False, "identity", weak, control=identity)
    assert court.judge_group(group, HALF, served).expert is not None
    beside = court.judge_group(group, HALF, [*served, known])
    assert beside.expert is None
    assert "without it" in beside.report.reason


def test_a_group_is_trusted_with_what_it_gains_on_everyone_and_proved_the_harder_the_more() -> None:
    _, identity, better = opinions()
    group = Candidate("group:g", None, False, "identity", better, control=identity)
    lower, gains = [], []
    for groups, some in ((1, HALF), (10, HALF), (1, np.ones_like(HALF))):
        court, served = hearing(groups)
        verdict = court.judge_group(group, some, served)
        assert verdict.expert is not None
        assert verdict.report.evidence is not None
        gains.append(verdict.expert.gain)
        lower.append(verdict.report.evidence.lower)
    assert gains[0] == gains[1] == gains[2] > 0
    assert lower[1] < lower[0]
    assert lower[2] != lower[0], "the proof is by the group's own users first"


def test_what_beats_a_bad_parent_alone_is_not_kept() -> None:
    _, identity, better = opinions()
    court, _ = hearing()
    worse = replace(identity, weights=(0.0, -1.0))
    court.judge(Candidate("bad", None, False, "identity", worse))
    child = replace(identity, weights=(0.0, 0.0))
    verdict = court.judge(Candidate("child", None, False, "bad", child))
    assert verdict.report.evidence is not None
    assert verdict.report.evidence.lower > 0
    assert verdict.expert is None
    assert court.judge(Candidate("good", None, False, "bad", better)).expert is not None


def test_an_expert_that_says_what_another_one_says_is_not_kept() -> None:
    """Two of the same would be trusted twice."""
    _, _, better = opinions()
    court, _ = hearing()
    known = Candidate("known", None, False, "identity", better, "not be worse")
    assert court.judge(known).expert is not None
    assert better.weights is not None
    assert better.names[-1] == "neighbour_weight"
    silent = replace(better, weights=(*better.weights[:-1], 0.0))
    verdict = court.judge(replace(known, name="silent", predictor=silent))
    assert verdict.expert is None
    assert "already" in verdict.report.reason


def test_the_mixture_of_held_out_users_is_the_one_that_is_served() -> None:
    """Each user begins anew; by the definition, with the weights that an engine starts with."""
    config = MixtureConfig()
    experts = [
        Expert("identity", None, False, tau=1.0, prior_weight=1.0),
        Expert("popularity", None, False, tau=0.0, prior_weight=1.0, gain=-0.3, trust=0.2),
    ]
    losses = np.random.default_rng(3).uniform(1, 5, (2, 6))
    user = np.array([4, 4, 4, 7, 9, 9])
    found = mixed_losses(experts, list(losses), user, config)
    bound = BoundExperts(Population(SPACE, ITEMS, (), None, None, tuple(experts), ()), WORLD.pool)
    rows = np.column_stack([*-losses, -losses[bound.base]])
    for number in (4, 7, 9):
        begun = new_mixture(bound.prior, config.identity_weight)
        seen = rows[user == number].tolist()
        _, scores = observe(begun, seen, bound.prior, config.share)
        np.testing.assert_allclose(found[user == number], -np.array(scores))


def test_experts_are_trusted_by_the_share_of_users_whom_they_predict_best() -> None:
    """Users whom one expert alone can predict: known shares, and a made-up user for each."""
    user = np.repeat(np.arange(40), 5)
    losses = np.full((200, 3), 9.0)
    losses[user < 30, 1] = 1.0
    losses[user >= 30, 2] = 1.0
    shares = user_shares(losses, user)
    np.testing.assert_allclose(shares, np.array([1, 31, 11]) / 43, rtol=1e-6)
    found = trusted([Expert(name, None, False, 1.0, 1.0) for name in "abc"], list(losses.T), user)
    np.testing.assert_allclose([expert.trust for expert in found], shares)


def test_trust_is_the_likeliest_for_whole_users() -> None:
    """No other weights make the users, and one more for each expert, more likely."""
    rng = np.random.default_rng(5)
    user = np.sort(rng.integers(0, 60, 400))
    losses = rng.gamma(2.0, 1.0, (400, 4)) + np.array([0.4, 0.0, 0.2, 0.6])
    logs = np.array([-losses[user == number].sum(axis=0) for number in np.unique(user)])

    def likelihood(shares: AnyFloatArray) -> float:
        return float(np.log(np.exp(logs) @ shares).sum() + np.log(shares).sum())

    shares = user_shares(losses, user)
    best = likelihood(shares)
    for _ in range(200):
        near = shares * np.exp(rng.normal(0, 0.1, 4))
        assert likelihood(near / near.sum()) <= best + 1e-6


def test_few_users_bear_out_little() -> None:
    losses = np.array([[5.0, 1.0]])
    few = user_shares(np.repeat(losses, 3, axis=0), np.arange(3))
    many = user_shares(np.repeat(losses, 300, axis=0), np.arange(300))
    assert 0.6 < few[1] < 0.85
    assert many[1] > 0.95
    assert many[0] >= 1 / 302


class StopError(Exception):
    """Raised by the test."""


def test_it_can_be_cancelled_between_minibatches() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise StopError

    with pytest.raises(StopError):
        WORLD.fit(check=check)
    assert calls == 7


def test_progress_goes_from_nothing_to_done() -> None:
    told: list[PopulationProgress] = []
    WORLD.fit(on_progress=told.append)
    done = [progress.done for progress in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 1.0)
    assert {p.stage for p in told} >= {"shared", "residuals", "neighbours", "experts", "refit"}
    assert sum(p.loss is not None for p in told) >= 6


def test_nobody_has_more_rows_than_allowed() -> None:
    rows = WORLD.rows
    prior, likes = PRIOR, ContrastiveConfig()
    ground = make_ground(rows, WORLD.pool, replace(QUICK, max_rows_per_user=3), prior, likes)
    assert (np.diff(ground.rows.first) == 3).all()
    for user in range(5):
        newest = slice(rows.first[user + 1] - 3, rows.first[user + 1])
        mine = slice(ground.rows.first[user], ground.rows.first[user + 1])
        assert rows.items is not None
        assert ground.rows.items is not None
        np.testing.assert_array_equal(ground.rows.items[mine], rows.items[newest])


def test_popularity_does_not_know_the_users_held_out() -> None:
    ground = make_ground(WORLD.rows, WORLD.pool, QUICK, PRIOR, ContrastiveConfig())
    counts = np.bincount(ground.items(ground.fit), minlength=ITEMS)
    np.testing.assert_allclose(ground.pool.log_prior, ItemPool(WORLD.vectors, counts).log_prior)
    again = ground.with_everyone()
    np.testing.assert_allclose(again.pool.log_prior, WORLD.pool.log_prior)


def test_disliked_rows_are_no_targets() -> None:
    world = World(users=120)
    for key, [life] in world.feedback.items():
        assert life.items is not None
        reward = np.where(np.arange(len(life)) % 2, 1.0, 0.0)
        world.feedback[key] = [Feedback(life.x, items=life.items, reward=reward)]
    ground = make_ground(world.rows, world.pool, QUICK, PRIOR, ContrastiveConfig())
    assert (ground.rows.reward[ground.fit] == 1).all()
    recent = ground.recent(ground.fit, 20)
    assert (np.sort((recent >= 0).sum(axis=1)) <= 8).all()
    population, report = world.fit()
    assert report.events == len(world.rows) // 2
    assert population.names[0] == "identity"


def test_feedback_that_does_not_fit_the_pool_is_refused() -> None:
    rows = WORLD.rows
    assert rows.items is not None
    with pytest.raises(InvalidInputError, match="items"):
        WORLD.fit(rows=replace(rows, items=rows.items + ITEMS))
    with pytest.raises(InvalidInputError, match="dim"):
        WORLD.fit(rows=replace(rows, x=rows.x[:, :-1]))
    feedback = {key: [Feedback(f.x, f.x)] for key, [f] in WORLD.feedback.items()}
    mse = collect_rows(feedback, "mse")
    assert mse is not None
    with pytest.raises(InvalidInputError, match="items"):
        fit_population(mse, WORLD.pool, PopulationConfig(), space=SPACE)


def test_what_is_merely_known_is_off_the_offer_and_counted_but_not_predicted() -> None:
    rows = WORLD.rows
    weight = np.ones(len(rows), np.float32)
    weight[rows.first[:-1]] = 0.0
    known = replace(rows, weight=weight)
    parts = WORLD.pool, QUICK, PRIOR, ContrastiveConfig()
    whole, ground = make_ground(rows, *parts), make_ground(known, *parts)
    first = np.isin(whole.held_out, rows.first)
    np.testing.assert_array_equal(ground.held_out, whole.held_out[~first])
    np.testing.assert_array_equal(ground.fit, np.setdiff1d(whole.fit, rows.first))
    np.testing.assert_array_equal(ground.counted, whole.fit)
    later = ground.held_out
    np.testing.assert_array_equal(ground.offered(later), whole.offered(later))
    np.testing.assert_array_equal(ground.recent(later, 20), whole.recent(later, 20))


def test_the_newest_rows_are_those_that_are_learned_from() -> None:
    rows = WORLD.rows
    weight = (np.arange(len(rows)) % 3 == 0).astype(np.float32)
    ground = make_ground(
        replace(rows, weight=weight),
        WORLD.pool,
        replace(QUICK, max_rows_per_user=2),
        PRIOR,
        ContrastiveConfig(),
    )
    found = ground.rows
    assert np.bincount(found.user, found.weight).tolist() == [2.0] * len(found.keys)
    assert (np.diff(found.first) == np.bincount(found.user)).all()
    assert found.items is not None
    assert rows.items is not None
    for user, (begin, end) in enumerate(zip(found.first[:-1], found.first[1:], strict=True)):
        mine = rows.items[rows.first[user] : rows.first[user + 1]]
        np.testing.assert_array_equal(found.items[begin:end], mine[len(mine) - (end - begin) :])
