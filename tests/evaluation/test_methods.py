"""Methods against their definitions, and against leaks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from tests.support.made_up_log import SMALL, made_up

from lorabank.config import ContrastiveConfig, PopulationConfig, PriorConfig
from lorabank.evaluation.ground import Ground, make_ground
from lorabank.evaluation.measures.bound import best_single, largest_excess
from lorabank.evaluation.measures.drift import after_drift
from lorabank.evaluation.measures.events import measure
from lorabank.evaluation.methods.base import Served
from lorabank.evaluation.methods.filters import nlms, ridge
from lorabank.evaluation.methods.linear import ridge_map
from lorabank.evaluation.methods.mixture import Mixed, trusted_anew
from lorabank.evaluation.methods.neighbours import pair_tables, strongest
from lorabank.evaluation.methods.popularity import snapshots
from lorabank.evaluation.methods.registry import EVERYTHING, METHODS
from lorabank.evaluation.methods.shared import (
    past_pool,
    past_rows,
    random_groups,
    shuffled_items,
    user_keys,
)
from lorabank.evaluation.methods.workshop import Workshop
from lorabank.evaluation.splits import Split, make_split
from lorabank.evaluation.views import View, make_view
from lorabank.population.ground import make_ground as make_population_ground
from lorabank.population.rows import split_users
from lorabank.statistics.scores import user_means
from lorabank.types.arrays import FloatArray, IntArray

MADE = made_up()
SETTINGS = replace(SMALL, quick=True)


@lru_cache
def ground() -> tuple[Split, Ground]:
    split = make_split(MADE.dataset(), SETTINGS, 0)
    return split, make_ground(split, MADE.vectors, SETTINGS, 0, clock=True)


@lru_cache
def workshop() -> Workshop:
    return Workshop(ground()[1])


@lru_cache
def served(key: str) -> Served:
    return next(method for method in METHODS if method.key == key).fit(workshop())


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    yield
    for cache in (ground, workshop, served):
        cache.cache_clear()


def new_view(split: Split) -> View:
    return make_view(split.new, MADE.vectors, window=SETTINGS.window, decay=SETTINGS.decay, most=20)


def scores_of(method: Served, view: View) -> FloatArray:
    return method.logits(view)(np.arange(len(view)))


@pytest.mark.parametrize("key", [method.key for method in METHODS])
def test_what_a_user_does_later_changes_nothing_now(key: str) -> None:
    split, _ = ground()
    view, method = new_view(split), served(key)
    log = split.new
    item = log.item.copy()
    changed = np.zeros(len(item), np.bool_)
    rng = np.random.default_rng(5)
    for first, last in zip(log.first[:-1], log.first[1:], strict=True):
        late = np.arange(first + 12, last)
        item[late] = rng.permutation(item[late])
        changed[late] = True
    other = new_view(replace(split, new=replace(log, item=item)))
    row = log.first[view.events.user] + view.events.seen
    early = ~changed[row]
    assert 0 < early.sum() < len(early)
    a, b = scores_of(method, view), scores_of(method, other)
    np.testing.assert_allclose(a[early], b[early], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("key", [method.key for method in METHODS])
def test_other_users_change_nothing(key: str) -> None:
    split, _ = ground()
    view, method = new_view(split), served(key)
    keep = split.new.user < 10
    first = split.new.first[:11]
    few = replace(
        split.new,
        user=split.new.user[keep],
        item=split.new.item[keep],
        liked=split.new.liked[keep],
        time=split.new.time[keep],
        first=first,
    )
    a, b = scores_of(method, view), scores_of(method, new_view(replace(split, new=few)))
    np.testing.assert_allclose(a[: len(b)], b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "key", ["popularity", "likely_blend", "likely_knn", "user_sgd", EVERYTHING]
)
def test_calibrated_methods_are_no_worse_than_knowing_nothing(key: str) -> None:
    view = new_view(ground()[0])
    offered = 80 - view.events.seen
    assert measure(view, served(key).logits(view)).nll.mean() < np.log(offered).mean() + 0.05


def test_everything_is_better_than_popularity_where_there_is_something_to_learn() -> None:
    view = new_view(ground()[0])
    everything, popular = (
        measure(view, served(key).logits(view)).nll for key in (EVERYTHING, "popularity")
    )
    assert everything.mean() < popular.mean() - 0.1


def test_the_mixture_keeps_its_promise() -> None:
    view, mixed = new_view(ground()[0]), served(EVERYTHING)
    assert isinstance(mixed, Mixed)
    bound = largest_excess(mixed, view, measure(view, mixed.logits(view)))
    assert bound.largest <= bound.allowed + 1e-3


def test_no_single_expert_is_better_for_a_user_than_its_prior_weight_allows() -> None:
    """Herbster & Warmuth (1998), with the share of `lorabank.numerics.mixture`."""
    view, mixed = new_view(ground()[0]), served(EVERYTHING)
    assert isinstance(mixed, Mixed)
    user, settings = view.events.user, mixed.config.mixture
    total = np.bincount(user, measure(view, mixed.logits(view)).nll)
    cost = np.log1p(settings.share * np.maximum(np.bincount(user) - 1, 0))
    cost -= math.log1p(-settings.identity_weight)
    for alone, weight in zip(mixed.replay(view).likelihoods.T, mixed.experts.prior, strict=True):
        assert (total <= np.bincount(user, -alone) + cost - math.log(weight) + 1e-3).all()


def test_the_best_single_expert_is_the_likeliest_of_the_mixture() -> None:
    view, mixed = new_view(ground()[0]), served(EVERYTHING)
    assert isinstance(mixed, Mixed)
    best, scorer = best_single(mixed, view), mixed.experts.scorer
    likelihoods = dict(zip(mixed.experts.names, mixed.replay(view).likelihoods.T, strict=True))
    np.testing.assert_array_equal(best.nll, -likelihoods[best.name])
    for name in scorer.names:
        y = scorer.transform(name, view.events.x)

        def alone(rows: IntArray, name: str = name, y: FloatArray = y) -> FloatArray:
            return scorer.logits(name, y[rows], view.recent[rows])

        nll = measure(view, alone).nll
        assert (
            user_means(best.nll, view.events.user).mean()
            <= user_means(nll, view.events.user).mean() + 1e-6
        )
        # The identity's among them, by which the promise is judged.
        np.testing.assert_allclose(-likelihoods[name], nll, atol=1e-4)


def test_a_view_is_run_through_once() -> None:
    view, mixed = new_view(ground()[0]), served(EVERYTHING)
    assert isinstance(mixed, Mixed)
    assert mixed.replay(view) is mixed.replay(view)
    assert mixed.replay(new_view(ground()[0])) is not mixed.replay(view)


def test_the_mixture_gives_probabilities() -> None:
    view = new_view(ground()[0])
    rows = np.arange(0, len(view), 9)
    logs = served(EVERYTHING).logits(view)(rows)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1, rtol=1e-4)


def test_a_drift_needs_long_histories() -> None:
    mixed = served(EVERYTHING)
    assert isinstance(mixed, Mixed)
    assert after_drift(mixed, new_view(ground()[0]), 50) == ()


def test_the_library_splits_past_users_as_everybody_else_does() -> None:
    _, past = ground()
    rows = past_rows(past)
    split = split_users(rows.keys, SETTINGS.choose)
    fit = np.array([user_keys(past).index(key) < past.fit.log.users for key in rows.keys])
    np.testing.assert_array_equal(split.fit, fit)
    assert abs(int(split.stop.sum()) - int(split.proof.sum())) <= 2
    assert int(rows.weight.sum()) == len(past.fit) + len(past.choose)


def test_who_is_learned_from_is_seen_as_new_users_are() -> None:
    """The same is on offer at each event, the same is looked back at, and as much is popular."""
    _, past = ground()
    rows = past_rows(past)
    space = PopulationConfig(), PriorConfig(held_out=SETTINGS.choose), ContrastiveConfig()
    library = make_population_ground(rows, past_pool(past, rows), *space)
    np.testing.assert_array_equal(library.pool.log_prior, past.pool.log_prior)
    places = np.flatnonzero(rows.weight)
    number = 0
    for view in (past.fit, past.choose):
        part = places[number : number + len(view)]
        number += len(view)
        np.testing.assert_array_equal(library.items(part), view.events.target)
        np.testing.assert_array_equal(rows.x[part], view.events.x)
        np.testing.assert_array_equal(library.recent(part, SETTINGS.window), view.recent)
        gone = np.zeros((len(view), len(past.items)), np.float32)
        view.mask(np.arange(len(view)), gone)
        np.testing.assert_array_equal(library.offered(part), gone == 0)


def test_a_population_is_trusted_anew_as_the_library_trusted_it() -> None:
    """By the same users, on the same offers; every event of theirs is looked at by both here."""
    full = workshop().full
    given = [expert.trust for expert in full.experts]
    again = trusted_anew(ground()[1], full)
    np.testing.assert_allclose([expert.trust for expert in again.experts], given, rtol=1e-3)
    assert max(given) > 1.5 * min(given), "they are not all trusted alike"


def test_a_shuffled_bank_learns_from_noise_and_is_judged_by_real_users() -> None:
    _, past = ground()
    shuffled, rows, size = shuffled_items(past), past_rows(past), len(past.items)
    assert rows.items is not None
    fit = int(split_users(rows.keys, SETTINGS.choose).fit[rows.user].sum())
    real = np.bincount(rows.items[:fit], minlength=size)
    noise = np.bincount(shuffled[:fit], minlength=size)
    np.testing.assert_array_equal(np.sort(real), np.sort(noise))
    assert abs(np.corrcoef(real, noise)[0, 1]) < 0.5, "not what is popular, either"
    np.testing.assert_array_equal(shuffled[fit:], rows.items[fit:])
    experts = workshop().shuffled.experts
    judged = {expert.name: expert.gain for expert in workshop().plain.experts}
    for expert in experts:
        if expert.name in ("identity", "popularity"):
            assert expert.gain == pytest.approx(judged[expert.name], abs=1e-6)


def test_random_groups_share_nobody() -> None:
    _, past = ground()
    drawn = [key for group in random_groups(past).values() for key in group]
    assert len(drawn) == len(set(drawn))


def test_nlms_is_its_recursion() -> None:
    X, T = np.random.default_rng(0).standard_normal((2, 9, 4)).astype(np.float32)
    W = np.eye(4)
    expected = []
    for x, t in zip(X.astype(float), T.astype(float), strict=True):
        expected.append(W @ x)
        W += 0.3 * np.outer(t - W @ x, x) / (x @ x)
    np.testing.assert_allclose(nlms(X, T, 0.3), expected, rtol=1e-4, atol=1e-4)


def test_ridge_is_its_closed_form_on_every_prefix() -> None:
    X, T = np.random.default_rng(0).standard_normal((2, 9, 4)).astype(np.float32)
    found = ridge(X, T, 2.0)
    for i in range(9):
        x, t = X[:i].astype(float), T[:i].astype(float)
        W = np.eye(4) + (t - x).T @ x @ np.linalg.inv(x.T @ x + 2.0 * np.eye(4))
        np.testing.assert_allclose(found[i], W @ X[i], rtol=1e-3, atol=1e-3)


def test_the_linear_map_finds_a_linear_map() -> None:
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((500, 6)), rng.standard_normal((6, 6))
    T = X @ W.T
    np.testing.assert_allclose(ridge_map(X.T @ X, T.T @ X, 1e-6), W, atol=1e-3)
    held = ridge_map(X.T @ X, T.T @ X, 1e12)
    np.testing.assert_allclose(held, held[0, 0] * np.eye(6), atol=1e-4)


def test_snapshots_know_earlier_rows_alone() -> None:
    time, item = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 1, 1, 2])
    moments, tables = snapshots(time, item, 1.0, 3, count=4)
    assert moments.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(tables[0], tables[0, 0])
    assert tables[1].argmax() == 0
    # At time 3: item 0 counts 1/8, item 1 counts 1/4 + 1/2, and 2 has not come yet.
    smooth = np.array([2, 3, 1]) / 6
    expected = np.array([0.125, 0.75, 0.0]) + smooth
    np.testing.assert_allclose(np.exp(tables[3]), expected, rtol=1e-5)


def test_pairs_are_counted_by_brute_force() -> None:
    _, past = ground()
    log, size = past.fit.log, len(MADE.vectors)
    expected = np.zeros((size, size))
    counts = np.full(size, 10.0)
    for user in range(log.users):
        rows = range(log.first[user], log.first[user + 1])
        likes = [int(log.item[row]) for row in rows if log.liked[row]]
        for late, item in enumerate(likes):
            counts[item] += 1
            for early in range(max(0, late - SETTINGS.window), late):
                expected[likes[early], item] += 0.9 ** (late - early - 1)
    directed = expected / counts[:, None]
    np.fill_diagonal(directed, 0)
    found = pair_tables(past)
    np.testing.assert_allclose(found[True].toarray(), directed, rtol=1e-4, atol=1e-6)
    cosine = (expected + expected.T) / np.sqrt(np.outer(counts, counts))
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(found[False].toarray(), cosine, rtol=1e-4, atol=1e-6)


def test_the_strongest_entries_of_each_row_are_kept() -> None:
    table = np.random.default_rng(0).random((6, 6)).astype(np.float32)
    np.fill_diagonal(table, 0)
    found = strongest(table, 2).toarray()
    for row, kept in zip(table, found, strict=True):
        assert np.count_nonzero(kept) == 2
        assert set(kept[kept > 0]) == set(np.sort(row)[-2:])
