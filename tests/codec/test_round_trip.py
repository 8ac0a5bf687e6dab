"""What is written is read back bit by bit, and what can't be read back is not written."""

from __future__ import annotations

import base64
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.former_codec import former_message
from tests.support.strategies import adapters, patterns, skills
from tests.support.streams import config_of, new_adapter

from lorabank.adapter import Adapter
from lorabank.codec import decode, encode
from lorabank.codec.envelope import pack_record, unpack_record
from lorabank.codec.records import to_record
from lorabank.errors import CodecError
from lorabank.numerics.lora import initial_matrices
from lorabank.population import Population
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hints
from lorabank.types.pattern import Pattern
from lorabank.types.skill import Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

laws = settings(max_examples=60, deadline=None, derandomize=True)


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
        assert one.dtype in (np.float32, np.float64)
        assert one.tobytes() == other.tobytes()
        assert one.shape == other.shape
        assert not other.flags.writeable
        assert other.flags.aligned
    else:
        assert repr(one) == repr(other)


@laws
@given(adapters())
def test_an_adapter_is_read_back_bit_by_bit(adapter: Adapter) -> None:
    data = adapter.to_bytes()
    assert_same_bits(adapter, Adapter.from_bytes(data))
    assert Adapter.from_bytes(data).to_bytes() == data


@laws
@given(adapters())
def test_bytes_from_before_there_were_experts_are_read(adapter: Adapter) -> None:
    """As earlier versions wrote them: without the last field."""
    old = replace(adapter, experts=None)
    before = [field.name for field in fields(old)].index("experts")
    record = to_record(old)[:before]
    for data in (pack_record(record, "adapter"), former_message(record)):
        assert_same_bits(Adapter.from_bytes(data), old)


@laws
@given(patterns)
def test_a_pattern_is_read_back_bit_by_bit(pattern: Pattern) -> None:
    assert_same_bits(pattern, decode(Pattern, "pattern", encode(pattern, "pattern")))


@laws
@given(skills())
def test_a_skill_is_read_back_bit_by_bit(skill: Skill) -> None:
    assert_same_bits(skill, decode(Skill, "skill", encode(skill, "skill")))


@pytest.mark.parametrize("view", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_will_do(view: Any) -> None:
    adapter = new_adapter(config_of("mse", 0.1, 1.0))
    assert_same_bits(adapter, Adapter.from_bytes(view(adapter.to_bytes())))
    spread = bytearray(2 * len(adapter.to_bytes()))
    spread[::2] = adapter.to_bytes()
    assert_same_bits(adapter, Adapter.from_bytes(memoryview(spread)[::2]))  # type: ignore[arg-type]


def test_a_decoded_adapter_stays_when_a_buffer_is_used_again() -> None:
    adapter = new_adapter(config_of("mse", 0.1, 1.0))
    data = bytearray(adapter.to_bytes())
    read = [Adapter.from_bytes(data), Adapter.from_bytes(memoryview(data).toreadonly())]  # type: ignore[arg-type]
    data[:] = bytes(len(data))
    for decoded in read:
        np.testing.assert_array_equal(decoded.A, adapter.A)


def test_nothing_is_copied_on_load() -> None:
    data = new_adapter(config_of("mse", 0.1, 1.0)).to_bytes()
    message = np.frombuffer(data, np.uint8)
    decoded = Adapter.from_bytes(data)
    for array in (decoded.A, decoded.B):
        assert np.shares_memory(array, message)


shapes = st.tuples(st.integers(0, 3)) | st.tuples(st.integers(0, 3), st.integers(0, 3))
LONG = [
    (255,),
    (256,),
    (65_535,),
    (65_536,),
    (255, 2),
    (2, 256),
    (65_536, 1),
    (1, 65_536),
    (0, 300),
]


@laws
@given(st.lists(st.tuples(st.sampled_from(LONG) | shapes, st.sampled_from("dfilh")), max_size=6))
def test_arrays_of_any_shape_lie_one_after_the_other(forms: list[tuple[Any, str]]) -> None:
    """Aligned, of all types in any order; h stands for float16, which is read as float32."""
    rng = np.random.default_rng(0)
    dtypes = {"d": "f8", "f": "f4", "i": "i4", "l": "i8", "h": "f2"}
    arrays = [rng.integers(0, 99, shape).astype(dtypes[kind]) for shape, kind in forms]
    message = pack_record(arrays, "adapter")
    read = unpack_record(message)
    assert len(read) == len(arrays)
    for one, other in zip(arrays, read, strict=True):
        assert other.dtype == (np.float32 if one.dtype == np.float16 else one.dtype)
        assert other.shape == one.shape
        assert other.flags.aligned
        assert not other.flags.writeable
        np.testing.assert_array_equal(one, other)
    with pytest.raises(CodecError):
        unpack_record(message + b"\0")
    assert pack_record(read, "adapter") == message or any(kind == "h" for _, kind in forms)


@pytest.mark.parametrize(("dim", "rank"), [(64, 4), (384, 8), (768, 8), (1024, 16)])
def test_little_is_stored_beside_the_numbers(dim: int, rank: int) -> None:
    """3 % at most, short names included; with any names, fifty bytes more than these."""
    rng, space = np.random.default_rng(0), EmbeddingSpace("MiniLM-L6", dim)
    A, B = initial_matrices(rng, rank, dim)
    weights, counts = Weights(A, B), {"version": 10_000, "sample_count": 100_000}
    adapter = Adapter("user-1234", weights, float(rank), "lora", "mse", space, **counts)
    raw = A.nbytes + B.nbytes
    names = len(adapter.user_id) + len(space.name)
    assert raw < len(adapter.to_bytes()) <= 1.03 * raw
    beside = len(adapter.to_bytes()) - raw - names
    assert 0 < beside <= 50
    assert 0 < len(adapter.to_bytes(half=True)) - raw / 2 - names <= beside


def choices_in(cls: Any, seen: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The choices of all fields that are stored, by class and field."""
    hints = get_type_hints(cls)
    for field in fields(cls):
        parts = [hints[field.name]]
        for part in parts:
            parts += get_args(part)
            if get_origin(part) is Literal:
                seen[f"{cls.__name__}.{field.name}"] = get_args(part)
            elif is_dataclass(part) and field.metadata.get("stored", True):
                choices_in(part, seen)
    return seen


def test_choices_stay_in_their_places() -> None:
    """They are stored as places: another order would read old bytes as something else."""
    seen: dict[str, tuple[str, ...]] = {}
    for cls in (Adapter, Pattern, Skill, Feedback, Population):
        choices_in(cls, seen)
    assert seen == {
        "Adapter.scaling": ("lora", "rslora"),
        "Adapter.objective": ("mse", "contrastive"),
        "Pattern.selection": ("default", "hinted", "explored", "holdout"),
    }


@laws
@given(adapters())
def test_half_the_bytes_are_eleven_bits(adapter: Adapter) -> None:
    """Weights are rounded once; everything else is as it was, bit by bit."""
    read = Adapter.from_bytes(adapter.to_bytes(half=True))
    for one, other in ((adapter.A, read.A), (adapter.B, read.B)):
        assert other.dtype == np.float32
        assert other.flags.aligned
        if abs(one).max() <= 65504:
            assert (abs(one - other) <= np.maximum(abs(one) * 2.0**-11, 2.0**-25)).all()
        elif abs(one).max() >= 65520:
            assert one.tobytes() == other.tobytes()
    assert_same_bits(replace(read, weights=adapter.weights), adapter)
    assert Adapter.from_bytes(read.to_bytes(half=True)).to_bytes() == read.to_bytes()


# Written before adapters knew of "rls" and effects of n_eff and folds.
OLD_ADAPTER = (
    "TG9SQQEB8fkZtZ6jYWRhkscRAQIBAAAAAgAAAAAAgD8AAABAxxEBAgIAAAABAAAAAABAQAAAgEDLP/AAAAAAAACkbG9yYaNt"
    "c2WToXMCwss/8AAAAAAAAMsAAAAAAAAAAAMJkMDAwA=="
)
# Written by format version 1 at its end, the second with half=True.
FORMER_ADAPTERS = (
    "TG9SQQEBUcgeLdwAEKNhZGGSxxgRAgEAAAADAAAAAAAAAAAAAAAAgD4AAAA/xxgRAgMAAAABAAAAAAAAAAAAAAAAAD8AAIA/"
    "y0AAAAAAAAAApGxvcmGjbXNlk6R0ZXN0A8LLP/gAAAAAAADLAAAAAAAAAAAHzQEskaFzwMDAwMA=",
    "TG9SQQEB/I/bz9wAEKNhZGGS2BUCAQAAAAMAAAAAAAAANAA42BUCAwAAAAEAAAAAAAAAOAA8y0AAAAAAAAAApGxvcmGjbXNl"
    "k6R0ZXN0A8LLP/gAAAAAAADLAAAAAAAAAAAHzQEskaFzwMDAwMA=",
)
# Written by format version 2 at its end, the same adapters.
LATER_ADAPTERS = (
    "TG9SQQIBLzcx/pujYWRhktgxAQADAAAAAAAAAIA+AAAAP9gxAwABAAAAAAAAAAA/AACAPwKkbG9yYaNtc2WTpHRlc3QDwss/"
    "+AAAAAAAAAAHzQEskaFz",
    "TG9SQQIBM8g1pJujYWRhkscKNQEAAwAAAAA0ADjHCjUDAAEAAAAAOAA8AqRsb3Jho21zZZOkdGVzdAPCyz/4AAAAAAAAAAfN"
    "ASyRoXM=",
)
# Written by format version 3 at its end, the same adapters.
LAST_ADAPTERS = (
    "TG9SQQMBHciZOZujYWRhkscOUQAAAAAAAIA+AAAAPwEAxw5RAAAAAAAAAD8AAIA/AwACAACTpHRlc3QDwss/+AAAAAAAAAAH"
    "zQEskaFz",
    "TG9SQQMBVLPyxJujYWRhktdVAAAANAA4AQDXVQAAADgAPAMAAgAAk6R0ZXN0A8LLP/gAAAAAAAAAB80BLJGhcw==",
)
OLD_SKILL = (
    "TG9SQQEDbeTzbp+haaFuqGV2ZXJ5b25lk6FzAsKjbXNlxw0BAQIAAAAAAIA/AAAAAMu/8AAAAAAAAJXLP8mZmZmZmZrLP7mZ"
    "mZmZmZrLP9MzMzMzMzMGGMORoXXLP/AAAAAAAADAl8DAwMCQywAAAAAAAAAAkJGZpXN0ZXBzy0AAAAAAAAAAyz+5mZmZmZma"
    "yz+EeuFHrhR7yz+pmZmZmZmayz/JmZmZmZmaKAnLP++uFHrhR67A"
)


def test_what_an_older_version_wrote_is_still_read() -> None:
    adapter = Adapter.from_bytes(base64.b64decode(OLD_ADAPTER))
    assert (adapter.user_id, adapter.version, adapter.rls) == ("ada", 3, None)
    np.testing.assert_array_equal(adapter.B, [[3.0], [4.0]])
    for text in FORMER_ADAPTERS + LATER_ADAPTERS + LAST_ADAPTERS:
        adapter = Adapter.from_bytes(base64.b64decode(text))
        assert (adapter.user_id, adapter.version, adapter.sample_count) == ("ada", 7, 300)
        assert (adapter.alpha, adapter.tau, adapter.skill_ids) == (2.0, 1.5, ("s",))
        np.testing.assert_array_equal(adapter.A, [[0.0, 0.25, 0.5]])
        np.testing.assert_array_equal(adapter.B, [[0.0], [0.5], [1.0]])
    skill = decode(Skill, "skill", base64.b64decode(OLD_SKILL))
    (effect,) = skill.effects
    assert (effect.parameter, effect.users, effect.probability) == ("steps", 9, 0.99)
    assert (effect.effective_users, effect.fold_lower, effect.confirmed) == (0.0, None, None)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(skills())
def test_what_could_not_be_read_back_is_not_written(skill: Skill) -> None:
    impossible: list[dict[str, Any]] = [
        {"hints": Hints(learning_rate=float("nan"))},
        {"hints": Hints(confidence=float("inf"))},
        {"hints": Hints(steps=2**70)},
        {"hints": Hints(reasons=("\ud800",))},
        {"passed": 1},
        {"user_keys": (3,)},
        {"effects": ({"a": 1},)},
    ]
    for change in impossible:
        with pytest.raises(CodecError):
            encode(replace(skill, **change), "skill")
