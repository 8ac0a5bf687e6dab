"""The mixture's bounds as theorems: whatever the sequence, also one made against it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank.errors import InvalidInputError
from lorabank.numerics.mixture import new_mixture, observe, with_experts
from lorabank.types.mixture import Mixture

laws = settings(max_examples=200, deadline=None, derandomize=True)
logs = st.floats(-60, 0) | st.floats(-1e5, 0) | st.just(-math.inf) | st.just(0.0)
SLACK = 1e-9


@st.composite
def stories(
    draw: st.DrawFn, *, possible: bool = False
) -> tuple[list[list[float]], list[float], list[float], float, float]:
    """(log likelihoods (T, K), powers (T,), prior (K,), share, w0)."""
    experts, length = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    values = st.floats(-60, 0) if possible else logs
    rows = draw(
        st.lists(
            st.lists(values, min_size=experts, max_size=experts), min_size=length, max_size=length
        )
    )
    powers = draw(st.lists(st.floats(0, 1) | st.just(1.0), min_size=length, max_size=length))
    raw = draw(st.lists(st.floats(0.01, 1), min_size=experts, max_size=experts))
    prior = [value / math.fsum(raw) for value in raw]
    return rows, powers, prior, draw(st.floats(1e-6, 0.5)), draw(st.floats(0.001, 0.999))


def play(
    rows: Sequence[Sequence[float]],
    powers: Sequence[float],
    prior: Sequence[float],
    share: float,
    w0: float,
) -> tuple[Mixture, list[float]]:
    """The mixture at the end, and its weighted loss of every row."""
    return play_on(new_mixture(prior, w0), rows, powers, prior, share)


def play_on(
    mixture: Mixture,
    rows: Sequence[Sequence[float]],
    powers: Sequence[float],
    prior: Sequence[float],
    share: float,
) -> tuple[Mixture, list[float]]:
    mixture, scores = observe(mixture, rows, prior, share, powers)
    return mixture, [-p * score if p else 0.0 for p, score in zip(powers, scores, strict=True)]


def observe_one(
    mixture: Mixture, row: Sequence[float], prior: Sequence[float], share: float
) -> tuple[Mixture, float]:
    mixture, (score,) = observe(mixture, [row], prior, share)
    return mixture, score


def weighted(rows: Sequence[Sequence[float]], powers: Sequence[float], expert: int) -> float:
    return sum(-p * row[expert] if p else 0.0 for row, p in zip(rows, powers, strict=True))


@laws
@given(stories())
def test_the_excess_over_the_identity_is_bounded_in_total(story: tuple) -> None:  # type: ignore[type-arg]
    rows, powers, *_, w0 = story
    _, losses = play(*story)
    identity = weighted(rows, powers, 0)
    if math.isfinite(identity):
        assert sum(losses) <= identity + math.log(1 / w0) + SLACK * (1 + identity)


@laws
@given(stories(possible=True))
def test_no_single_expert_is_better_by_more_than_its_prior_and_the_share(story: tuple) -> None:  # type: ignore[type-arg]
    rows, powers, prior, share, w0 = story
    _, losses = play(*story)
    for expert, weight in enumerate(prior):
        cost = -math.log1p(-w0) - math.log(weight) + math.log1p(share * (len(rows) - 1))
        loss = weighted(rows, powers, expert)
        assert sum(losses) <= loss + cost + SLACK * (1 + loss)


@laws
@given(stories(possible=True), st.data())
def test_no_sequence_of_experts_is_better_by_more_than_its_switches(
    story: tuple,  # type: ignore[type-arg]
    data: st.DataObject,
) -> None:
    rows, powers, prior, share, w0 = story
    picks = st.integers(0, len(prior) - 1)
    path = data.draw(st.lists(picks, min_size=len(rows), max_size=len(rows)))
    _, losses = play(*story)
    loss = sum(-p * row[k] for row, p, k in zip(rows, powers, path, strict=True))
    cost = -math.log1p(-w0) - math.log(prior[path[0]])
    cost += math.log1p(share * (len(rows) - 1))
    for t, (before, after) in enumerate(itertools.pairwise(path), start=1):
        stays = math.log1p(share * (t - 1)) - math.log1p(share * t)
        switches = math.log(share) - math.log1p(share * t) + math.log(prior[after])
        cost += 0.0 if before == after else stays - switches
    assert sum(losses) <= loss + cost + SLACK * (1 + loss)


@pytest.mark.parametrize("w0", [0.01, 0.05, 0.5])
def test_an_adversary_who_sees_the_weights_gains_no_more_than_the_bound(w0: float) -> None:
    """Each round the expert with the most weight is the one that is wrong; the bound is tight."""
    prior, excess = [0.25] * 4, 0.0
    mixture = new_mixture(prior, w0)
    for _ in range(3000):
        row = [-1.0] * 4
        worst = max(range(1, 4), key=lambda k: mixture.served[k])
        row[worst] = -50.0
        mixture, log_p = observe_one(mixture, row, prior, 0.01)
        excess += -1.0 - log_p
    assert 0.3 * math.log(1 / w0) < excess <= math.log(1 / w0) + SLACK


def test_the_other_experts_are_found_again_after_a_drift() -> None:
    """Ten thousand events of the identity's world; then thirty of another expert's are enough."""
    prior, share = [1 / 3] * 3, 0.01
    mixture = new_mixture(prior, 0.05)
    for _ in range(10_000):
        mixture, _ = observe_one(mixture, [-1.0, -1.5, -3.0], prior, share)
    assert mixture.served[0] > 0.9
    lost = 0.0
    for _ in range(30):
        mixture, log_p = observe_one(mixture, [-3.0, -2.5, -1.0], prior, share)
        lost += -1.0 - log_p
    assert mixture.served[2] > 0.9
    # One switch at this time, beside what "the identity for good" has got ahead meanwhile.
    assert lost < math.log((1 + share * 10_000) / (share / 3)) + math.log1p(share * 10_000)


@laws
@given(stories(), st.randoms())
def test_the_order_of_the_other_experts_does_not_matter(story: tuple, random: object) -> None:  # type: ignore[type-arg]
    rows, powers, prior, share, w0 = story
    order = [0, *np.random.default_rng(len(rows)).permutation(len(prior) - 1) + 1]
    mixture, losses = play(rows, powers, prior, share, w0)
    other, same = play(
        [[row[k] for k in order] for row in rows], powers, [prior[k] for k in order], share, w0
    )
    np.testing.assert_allclose(losses, same, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([mixture.served[k] for k in order], other.served, atol=1e-9)


def test_against_the_definition_in_plain_probabilities() -> None:
    rng = np.random.default_rng(0)
    rows, prior, share, w0 = rng.uniform(0.01, 1, (25, 3)), np.array([0.5, 0.3, 0.2]), 0.05, 0.1
    joint, alone, top = prior.copy(), 1.0, np.array([w0, 1 - w0])
    mixture = new_mixture(prior.tolist(), w0)
    for t, p in enumerate(rows, start=1):
        below = joint @ p
        want = top @ [p[0], below]
        mixture, log_p = observe_one(mixture, np.log(p).tolist(), prior.tolist(), share)
        assert log_p == pytest.approx(math.log(want))
        top = top * [p[0], below] / want
        back = share / (1 + share * t)
        joint = (1 - back) * joint * p / below + back * prior
        assert mixture.identity_weight == pytest.approx(top[0])
        np.testing.assert_allclose(mixture.weights, joint)
        alone *= want
    assert math.fsum(mixture.served) == pytest.approx(1)


@laws
@given(stories())
def test_all_at_once_is_one_after_the_other(story: tuple) -> None:  # type: ignore[type-arg]
    rows, powers, prior, share, w0 = story
    whole, losses = play(*story)
    mixture, single = new_mixture(prior, w0), []
    for row, power in zip(rows, powers, strict=True):
        mixture, loss = play_on(mixture, [row], [power], prior, share)
        single += loss
    assert (mixture, single) == (whole, losses)


@laws
@given(stories())
def test_weights_stay_weights(story: tuple) -> None:  # type: ignore[type-arg]
    rows, _, prior, share, _ = story
    mixture, _ = play(*story)
    assert math.fsum(mixture.served) == pytest.approx(1)
    if any(max(row) > -math.inf for row in rows):
        least = share / (1 + share * mixture.observed)
        for weight, back in zip(mixture.weights, prior, strict=True):
            assert weight >= least * back * (1 - 1e-9)


def test_what_is_impossible_for_all_teaches_nothing() -> None:
    mixture = new_mixture([0.5, 0.5], 0.05)
    after, log_p = observe_one(mixture, [-math.inf, -math.inf], [0.5, 0.5], 0.01)
    assert after == mixture
    assert log_p == -math.inf


def test_an_identity_that_was_impossible_is_out_and_the_rest_goes_on() -> None:
    mixture = new_mixture([0.5, 0.5], 0.9)
    mixture, log_p = observe_one(mixture, [-math.inf, -2.0], [0.5, 0.5], 0.01)
    assert log_p == pytest.approx(-2.0 + math.log(0.1 * 0.5))
    assert mixture.identity_weight == 0.0
    for _ in range(20):
        mixture, log_p = observe_one(mixture, [-1.0, -30.0], [0.5, 0.5], 0.01)
    assert log_p > -1.1


def test_likelihoods_far_below_the_smallest_float() -> None:
    mixture = new_mixture([0.5, 0.5], 0.5)
    for _ in range(5):
        mixture, log_p = observe_one(mixture, [-1e7, -2e7], [0.5, 0.5], 0.01)
        assert log_p == pytest.approx(-1e7, abs=1)
    assert mixture.served[0] > 0.99


@pytest.mark.parametrize("weights", [(0.5, 0.5, 0.0), (0.5, 1e-310, 0.5), (0.0, 1e-300, 1.0)])
@pytest.mark.parametrize("row", [(-1.0, -2.0, -3.0), (-900.0, -1.0, -2e3), (-1e4, -2e4, -3.0)])
def test_weights_of_next_to_nothing(weights: tuple[float, ...], row: tuple[float, ...]) -> None:
    """By logarithms, which neither overflow nor vanish."""
    prior, share = [0.2, 0.3, 0.5], 0.01
    mixture = Mixture(-3.0, weights)
    with np.errstate(divide="ignore"):
        below = np.log(weights) + row
    after, score = observe_one(mixture, row, prior, share)
    identity = mixture.identity_weight
    served = [math.log(identity) + row[0], math.log1p(-identity) + np.logaddexp.reduce(below)]
    assert score == pytest.approx(np.logaddexp.reduce(served))
    back = share / (1 + share)
    posterior = np.exp(below - np.logaddexp.reduce(below))
    np.testing.assert_allclose(after.weights, (1 - back) * posterior + back * np.array(prior))


def test_no_power_no_lesson() -> None:
    mixture = new_mixture([0.5, 0.5], 0.05)
    after, _ = observe(mixture, [[-1.0, -math.inf]], [0.5, 0.5], 0.2, [0.0])
    np.testing.assert_allclose(after.weights, mixture.weights)
    assert after.log_odds == mixture.log_odds


@laws
@given(stories(possible=True), stories(possible=True))
def test_the_bound_holds_across_a_change_of_experts(first: tuple, second: tuple) -> None:  # type: ignore[type-arg]
    mixture, losses = play(*first)
    rows, powers, prior, share, _ = second
    mixture = with_experts(mixture, prior)
    _, more = play_on(mixture, rows, powers, prior, share)
    losses += more
    identity = weighted(first[0], first[1], 0) + weighted(rows, powers, 0)
    assert sum(losses) <= identity + math.log(1 / first[4]) + SLACK * (1 + identity)


@pytest.mark.parametrize(
    ("log_odds", "weights"),
    [(math.nan, (1.0,)), (math.inf, (1.0,)), (0.0, ()), (0.0, (0.5, 0.4)), (0.0, (1.5, -0.5))],
)
def test_impossible_states_are_refused(log_odds: float, weights: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInputError, match="mixture"):
        Mixture(log_odds, weights)
