"""A population is a value: equal bits from its bytes, and impossible ones are refused."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabank import EmbeddingSpace, InvalidInputError, ItemPool, Weights
from lorabank.codec import FORMAT_VERSION
from lorabank.codec.envelope import pack_record, unpack_record
from lorabank.errors import CodecError
from lorabank.experts import BoundExperts
from lorabank.population import (
    Expert,
    ItemToItem,
    Population,
    PopulationScorer,
    Residuals,
    SharedAdapter,
    Transitions,
)

N, DIM = 9, 4
SPACE = EmbeddingSpace("small", DIM)
HEADER = 10
laws = settings(max_examples=400, deadline=None, derandomize=True)


def small(seed: int = 0) -> Population:
    rng = np.random.default_rng(seed)

    def adapter(name: str, rank: int) -> SharedAdapter:
        A = rng.standard_normal((rank, DIM)).astype(np.float32)
        B = rng.standard_normal((DIM, rank)).astype(np.float32)
        return SharedAdapter(name, Weights(A, B), 2.0 * rank, "lora", ("ab", "cd"))

    return Population(
        space=SPACE,
        items=N,
        adapters=(adapter("shared", 2), adapter("group:g", 2)),
        residuals=Residuals(
            np.array([1, 4, 8]),
            rng.standard_normal((3, DIM)).astype(np.float32),
            rng.standard_normal(3).astype(np.float32),
        ),
        neighbours=ItemToItem(
            np.array([0, 2, 2, 3, 3, 3, 3, 3, 3, 4]),
            np.array([1, 8, 0, 3], np.int32),
            np.array([0.5, 2.0, 1.0, 0.25], np.float32),
            window=3,
            decay=0.5,
        ),
        experts=(
            Expert("identity", None, False, 3.0, 1.0),
            Expert("neighbours", None, False, 0.0, 0.9, neighbour_weight=1.5),
            Expert("shared", "shared", False, 2.0, 1.1, gain=0.2, trust=0.5),
            Expert("shared+residuals+neighbours", "shared", True, 2.0, 0.9, 1.5, 0.7, 0.4),
            Expert("group:g", "group:g", True, 2.5, 0.8, 1.0, 0.6, 0.5, 1.2),
            Expert("shared+transitions", "shared", False, 2.0, 0.9, transition_weight=0.6),
        ),
        user_keys=("ab", "cd"),
        transitions=Transitions(
            np.array([0, 3, 8]), rng.standard_normal((3, DIM)).astype(np.float32), 2, 0.5
        ),
        tilt=0.5,
        lean=ItemToItem(
            np.array([0, 1, 1, 3, 3, 3, 3, 3, 3, 4]),
            np.array([8, 1, 5, 2], np.int32),
            np.array([1.5, 0.5, 1.0, 0.75], np.float32),
            window=2,
            decay=0.25,
        ),
    )


POOL = ItemPool(np.random.default_rng(9).standard_normal((N, DIM)), np.arange(N))
SAMPLE = small().to_bytes()
BODY = SAMPLE[HEADER:]


def signed(body: bytes) -> bytes:
    return struct.pack("<4sBBI", b"LoRA", FORMAT_VERSION, 5, zlib.crc32(body)) + body


def assert_same_bits(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if is_dataclass(one):
        for field in fields(one):
            assert_same_bits(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same_bits(a, b)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
        assert not other.flags.writeable
    else:
        assert repr(one) == repr(other)


def test_it_is_read_back_bit_by_bit() -> None:
    again = Population.from_bytes(SAMPLE)
    assert_same_bits(small(), again)
    assert again.to_bytes() == SAMPLE


def test_the_id_is_that_of_the_content() -> None:
    assert small().id == Population.from_bytes(SAMPLE).id
    assert small(1).id != small().id
    assert replace(small(), user_keys=("ab",)).id != small().id


@laws
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=3))
def test_changed_bytes_give_a_value_or_a_codec_error(changes: list[tuple[int, int]]) -> None:
    """And a value that can be served without a crash."""
    body = bytearray(BODY)
    for place, value in changes:
        body[place % len(body)] = value
    try:
        population = Population.from_bytes(signed(bytes(body)))
        scorer = PopulationScorer(population, POOL)
    except (CodecError, InvalidInputError):
        return
    X = np.ones((2, DIM), np.float32)
    with np.errstate(all="ignore"):
        logits = scorer.all_logits(X, np.array([[0, 2], [8, -1]]))
    assert logits.shape == (len(population.experts), 2, N)


@laws
@given(st.integers(0, 8 * len(SAMPLE) - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    data = bytearray(SAMPLE)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CodecError):
        Population.from_bytes(bytes(data))


@laws
@given(
    st.recursive(
        st.none() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=6),
        max_leaves=12,
    ),
    st.integers(0, 6),
)
def test_well_formed_values_of_the_wrong_shape(value: Any, place: int) -> None:
    record = unpack_record(SAMPLE)
    record[place] = value
    try:
        Population.from_bytes(pack_record(record, "population"))
    except CodecError:
        return


SHORTER = ItemToItem(
    np.array([0, 0, 1]), np.array([0], np.int32), np.ones(1, np.float32), window=3, decay=0.5
)


@pytest.mark.parametrize(
    "changes",
    [
        {"experts": ()},
        {"experts": (Expert("shared", "shared", False, 1.0, 1.0),)},
        {"experts": (small().experts[0], small().experts[0])},
        {"adapters": ()},
        {"adapters": (small().adapters[0], small().adapters[0])},
        {"residuals": None},
        {"neighbours": None},
        {"lean": SHORTER},
        {"tilt": -0.5},
        {"items": N - 1},
        {"items": N + 1},
        {"space": EmbeddingSpace("small", DIM + 1)},
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        replace(small(), **changes)


@pytest.mark.parametrize("trust", [-1.0, 0.0, 1e-300, 1e308, math.inf, math.nan])
def test_trust_that_makes_no_weights_is_refused(trust: float) -> None:
    """Two of 1e308 have an infinite sum, of which each is no share."""
    with pytest.raises(InvalidInputError, match="trust"):
        Expert("identity", None, False, 1.0, 1.0, trust=trust)


def test_a_population_without_trust_is_read_with_all_trusted_alike() -> None:
    """As they were written before experts had any."""
    plain = tuple(replace(expert, trust=1.0) for expert in small().experts)
    record = unpack_record(replace(small(), experts=plain).to_bytes())
    place = [field.name for field in fields(Population)].index("experts")
    for expert in record[place]:
        assert expert.pop() == 1
    again = Population.from_bytes(pack_record(record, "population"))
    assert again.experts == plain
    prior = BoundExperts(again, POOL).prior
    np.testing.assert_allclose(prior, 1 / len(prior))


@pytest.mark.parametrize(
    "changes",
    [
        {"items": np.array([1, 1, 2])},
        {"items": np.array([-1, 1, 2])},
        {"items": np.array([1, 2])},
        {"items": np.array([1, 2, 3], np.int32)},
        {"bias": np.array([1.0, np.nan, 0.0], np.float32)},
    ],
)
def test_impossible_residuals_are_refused(changes: dict[str, Any]) -> None:
    residuals = small().residuals
    assert residuals is not None
    with pytest.raises(InvalidInputError):
        replace(residuals, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"starts": np.array([0, 2, 2, 3, 3, 3, 3, 3, 3, 5])},
        {"starts": np.array([0, 4, 2, 3, 3, 3, 3, 3, 3, 4])},
        {"items": np.array([1, N, 0, 3], np.int32)},
        {"items": np.array([1, -1, 0, 3], np.int32)},
        {"weights": np.array([0.5, 0.0, 1.0, 0.25], np.float32)},
        {"decay": 0.0},
        {"window": 0},
    ],
)
def test_impossible_neighbours_are_refused(changes: dict[str, Any]) -> None:
    neighbours = small().neighbours
    assert neighbours is not None
    with pytest.raises(InvalidInputError):
        replace(neighbours, **changes)
