"""Rewards, ids, pools and copies."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank.types.feedback import Feedback, create_adapter_feedback, watch_reward
from lorabank.types.identifiers import new_id, user_key
from lorabank.types.items import ItemPool
from lorabank.types.weights import Weights

laws = settings(max_examples=100, deadline=None, derandomize=True)


@laws
@given(st.floats(0, 1), st.floats(0, 5), st.booleans())
def test_watch_reward_is_the_formula(completion: float, rating: float, rewatch: bool) -> None:
    expected = min(1.0, 0.5 * completion + 0.3 * rating / 5 + 0.2 * rewatch)
    assert watch_reward(completion, rating, rewatch) == pytest.approx(expected, abs=1e-15)
    feedback = create_adapter_feedback(
        np.ones(3), completion_rate=completion, rating=rating, rewatch=rewatch
    )
    assert feedback.reward is not None
    assert feedback.reward[0] == np.float32(expected)


def test_watch_reward_at_its_ends() -> None:
    assert watch_reward(0.0) == 0.0
    assert watch_reward(1.0, 5.0, True) == 1.0


@laws
@given(st.lists(st.floats(0, 4e9), min_size=2, max_size=20))
def test_ids_sort_by_time(times: list[float]) -> None:
    stamped = [(int(t * 1000), new_id(t)) for t in times]
    by_id = sorted(stamped, key=lambda pair: pair[1])
    assert [milliseconds for milliseconds, _ in by_id] == sorted(m for m, _ in stamped)


def test_ids_are_uuids_of_version_seven_and_all_different() -> None:
    ids = [new_id(1_700_000_000.0) for _ in range(1000)]
    assert len(set(ids)) == 1000
    for one in map(uuid.UUID, ids):
        assert one.version == 7
        assert one.variant == uuid.RFC_4122
        assert one.int >> 80 == 1_700_000_000_000


def test_a_user_key_depends_on_the_user_and_on_the_secret() -> None:
    keys = {user_key(user, secret) for user in ("ann", "bob") for secret in (b"1", b"2")}
    assert len(keys) == 4
    assert user_key("ann", b"1") == user_key("ann", b"1")
    assert all(len(bytes.fromhex(key)) == 16 for key in keys)
    assert "ann" not in user_key("ann", b"1")


def test_feedback_and_weights_can_not_be_written_to() -> None:
    feedback = Feedback(np.ones((2, 3), np.float32), np.ones((2, 3)), reward=[1, 1], items=[0, 1])
    weights = Weights(np.ones((1, 3), np.float32), np.ones((3, 1), np.float32))
    for array in (feedback.x, feedback.target, feedback.reward, feedback.items, weights.A):
        assert array is not None
        assert not array.flags.writeable


def test_a_vector_is_one_observation() -> None:
    assert len(Feedback(np.ones(3), reward=1.0)) == 1
    assert Feedback(np.ones(3), reward=1).dim == 3


def test_a_pool_is_drawn_from_by_its_smoothed_counts() -> None:
    pool = ItemPool(np.eye(4), [0, 1, 7, 24], smoothing=1.0, sampling_power=0.75)
    weight = np.array([1.0, 2.0, 8.0, 25.0])
    np.testing.assert_allclose(np.exp(pool.log_prior), weight / weight.sum(), rtol=1e-5)
    q = weight**0.75 / (weight**0.75).sum()
    np.testing.assert_allclose(np.exp(pool.log_q), q, rtol=1e-5)
    draws = np.bincount(pool.sample(40_000, np.random.default_rng(0)), minlength=4) / 40_000
    np.testing.assert_allclose(draws, q, atol=4 * (0.25 / 40_000) ** 0.5)


def test_without_counts_all_items_are_alike() -> None:
    pool = ItemPool(np.eye(3))
    np.testing.assert_allclose(np.exp(pool.log_prior), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(np.exp(pool.log_q), 1 / 3, rtol=1e-6)
