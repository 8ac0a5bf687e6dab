"""Whatever the bytes: a value or a CodecError, in bounded memory, and nothing is executed."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.former_codec import former_message
from tests.support.streams import Drifting, config_of, new_adapter, step

from lorabank.adapter import Adapter
from lorabank.codec import FORMAT_VERSION, decode
from lorabank.codec.envelope import pack_record, unpack_record
from lorabank.codec.records import to_record
from lorabank.errors import CodecError
from lorabank.population import Population
from lorabank.types.pattern import Pattern
from lorabank.types.skill import Skill

laws = settings(max_examples=300, deadline=None, derandomize=True)
HEADER = 10
KINDS: dict[str, Any] = {
    "adapter": Adapter,
    "pattern": Pattern,
    "skill": Skill,
    "population": Population,
}


def signed(body: bytes, code: int = 1, version: int = FORMAT_VERSION) -> bytes:
    """A valid envelope: only the body is hostile."""
    return struct.pack("<4sBBI", b"LoRA", version, code, zlib.crc32(body)) + body


def refused_or_read(data: bytes) -> None:
    for kind, cls in KINDS.items():
        try:
            decode(cls, kind, data)
        except CodecError:
            continue


def sample() -> Adapter:
    config, stream = config_of("mse", 0.1, 1.0), Drifting("mse", 0, leak=0.2, gain=1.0)
    adapter = new_adapter(config)
    return step(adapter, stream.draw(0, 3, stream.rng), config).adapter


SAMPLE = sample().to_bytes()
FORMER = former_message(to_record(sample()))
BODY = SAMPLE[HEADER:]
RECORD = BODY[1 : 1 + BODY[0]]
ARRAYS = BODY[1 + BODY[0] :]


def body_of(record: bytes, arrays: bytes = b"") -> bytes:
    """A record of any length with its size, and what comes after it."""
    return b"\xff" + struct.pack("<I", len(record)) + record + arrays


@laws
@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(CodecError):
        Adapter.from_bytes(data)


@laws
@given(st.binary(max_size=300), st.integers(1, 5))
def test_random_bodies_in_a_valid_envelope(body: bytes, code: int) -> None:
    refused_or_read(signed(body, code))
    refused_or_read(signed(body_of(body), code))
    refused_or_read(signed(body, code, version=3))


@laws
@given(st.integers(0, 8 * len(SAMPLE) - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    data = bytearray(SAMPLE)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CodecError):
        Adapter.from_bytes(bytes(data))


@laws
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_under_a_recomputed_checksum(changes: list[tuple[int, int]]) -> None:
    for version, whole in ((FORMAT_VERSION, BODY), (3, FORMER[HEADER:])):
        body = bytearray(whole)
        for place, value in changes:
            body[place % len(body)] = value
            body[-1 - place % len(body)] = value
        refused_or_read(signed(bytes(body), version=version))


def test_truncation_at_every_length() -> None:
    lengths = [*range(600), *range(600, len(SAMPLE), 61)]
    for length in lengths:
        for cut in (SAMPLE[:length], FORMER[:length]):
            with pytest.raises(CodecError):
                Adapter.from_bytes(cut)
        with pytest.raises(CodecError):
            Adapter.from_bytes(signed(BODY[:length]))
        with pytest.raises(CodecError):
            Adapter.from_bytes(signed(FORMER[HEADER:][:length], version=3))


def test_something_after_the_end() -> None:
    with pytest.raises(CodecError):
        Adapter.from_bytes(SAMPLE + b"\0")
    with pytest.raises(CodecError):
        Adapter.from_bytes(signed(BODY + b"\0"))
    with pytest.raises(CodecError):
        Adapter.from_bytes(signed(body_of(RECORD + b"\0", ARRAYS)))
    with pytest.raises(CodecError):
        Adapter.from_bytes(signed(FORMER[HEADER:] + b"\0", version=3))


def test_a_future_version_says_so() -> None:
    with pytest.raises(CodecError, match=r"version 5 is not known here .* upgrade lorabank"):
        Adapter.from_bytes(signed(BODY, version=5))


def test_another_kind_says_so() -> None:
    with pytest.raises(CodecError, match="kind 1 is not the pattern kind"):
        decode(Pattern, "pattern", SAMPLE)


@pytest.mark.parametrize("data", [None, "LoRA", 3, [1, 2]])
def test_no_bytes_at_all(data: Any) -> None:
    with pytest.raises(CodecError, match="bytes are needed"):
        Adapter.from_bytes(data)


def array_of(shape: tuple[int, ...], data: bytes, dimensions: int | None = None) -> bytes:
    count = len(shape) if dimensions is None else dimensions
    return struct.pack(f"<B{len(shape)}I", count, *shape) + data


def in_place_of_a(ext: msgpack.ExtType) -> bytes:
    """The sample with another extension value as its matrix A, in version 3."""
    record = msgpack.unpackb(FORMER[HEADER:])
    record[1][0] = ext
    return former_message(record)


def shaped(ext: msgpack.ExtType) -> bytes:
    """The sample with another extension value where the shape of A is."""
    record = msgpack.unpackb(RECORD)
    record[1][0] = ext
    return signed(body_of(msgpack.packb(record), ARRAYS))


@pytest.mark.parametrize("code", [0, 5, 16, 22, 32, 38, 48, 54, 64, 70, 80, 86, 97, 127])
def test_other_extension_types_in_former_versions(code: int) -> None:
    with pytest.raises(CodecError, match=f"extension type {code}"):
        Adapter.from_bytes(in_place_of_a(msgpack.ExtType(code, b"\1\0\0\0\0")))


@pytest.mark.parametrize("code", [0, 1, 17, 65, 81, 96, 102, 112, 118, 127])
def test_other_extension_types(code: int) -> None:
    with pytest.raises(CodecError, match=f"extension type {code}"):
        Adapter.from_bytes(shaped(msgpack.ExtType(code, b"\1\1")))


@pytest.mark.parametrize(
    ("code", "lengths"),
    [
        (97, b""),
        (97, b"\1\0\0"),
        (97, struct.pack("<Q", 1)),
        (113, b"\1"),
        (113, b"\1\1\1"),
        (113, struct.pack("<QQ", 1, 1)),
        (113, struct.pack("<II", 2**32 - 1, 2**32 - 1)),
        (113, struct.pack("<II", 2**31, 2)),  # 2**34 bytes, 0 in 32 bits
        (113, struct.pack("<II", 2**32 - 1, 0)),
        (114, struct.pack("<II", 2**31, 2**30)),  # 2**64 bytes, 0 in 64 bits
        (97, struct.pack("<I", 2**32 - 1)),
        (113, b"\0\0"),
        (101, b"\1"),
    ],
)
def test_lengths_that_do_not_fit(code: int, lengths: bytes) -> None:
    with pytest.raises(CodecError):
        Adapter.from_bytes(shaped(msgpack.ExtType(code, lengths)))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none(number: float) -> None:
    with pytest.raises(CodecError):
        Adapter.from_bytes(signed(BODY[:-4] + struct.pack("<f", number)))


def test_something_between_record_and_array_is_noticed() -> None:
    padded = 0
    for name in ("a", "ab", "abc", "abcd"):
        message = pack_record([name, np.ones(2, np.float32)], "adapter")
        end = HEADER + 1 + message[HEADER]
        if end < len(message) - 8:
            padded += 1
            with pytest.raises(CodecError, match="between"):
                unpack_record(message[:end] + b"\1" + message[end + 1 :])
    assert padded == 3


def test_timestamps_are_not_built() -> None:
    stamp = b"\xd6\xff\0\0\0\0"
    with pytest.raises(CodecError):
        Adapter.from_bytes(signed(body_of(stamp)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        array_of((), b"", 0),
        array_of((1, 1, 1), bytes(4), 3),
        array_of((2**32 - 1, 2**32 - 1), bytes(4)),
        array_of((2**31, 2), b""),  # 2**34 bytes, 0 in 32 bits
        array_of((2**32 - 1, 0), b""),
        array_of((0, 0), b""),
        array_of((2,), bytes(7)),
        array_of((1,), bytes.fromhex("0000c07f")),  # NaN
        array_of((1,), bytes.fromhex("0000807f")),  # infinity
    ],
)
def test_impossible_arrays(data: bytes) -> None:
    head = 1 + 4 * data[0] if data else 0
    for code, padding in ((1, b""), (17, b"\0\0\0"), (17, b"\0\0\1"), (21, b"\0")):
        payload = data[:head] + padding + data[head:]
        with pytest.raises(CodecError):
            Adapter.from_bytes(in_place_of_a(msgpack.ExtType(code, payload)))


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (33, b""),
        (33, b"\1"),
        (33, struct.pack("<H2x", 2) + bytes(4)),
        (33, struct.pack("<Hxb", 1, 1) + bytes(4)),  # something in between
        (33, struct.pack("<H2xf", 1, float("nan"))),
        (49, struct.pack("<HH", 0, 0)),
        (49, struct.pack("<HH", 65535, 65535) + bytes(4)),
        (49, struct.pack("<HHf", 1, 1, float("inf"))),
        (52, struct.pack("<HH", 1, 1) + bytes(8)),  # nothing in between
        (53, struct.pack("<HH", 1, 3) + bytes(5)),
        (65, bytes(5)),
        (65, struct.pack("<ff", 1, float("nan"))),
        (81, b""),
        (81, b"\1"),
        (81, struct.pack("<ffH", 1, 2, 0)),
        (81, struct.pack("<ffH", 1, 2, 3)),
        (81, struct.pack("<ffH", 1, 2, 65535)),
        (81, struct.pack("<fxH", 1, 1)),
        (81, struct.pack("<ffH", 1, float("inf"), 1)),
    ],
)
def test_impossible_short_arrays(code: int, payload: bytes) -> None:
    with pytest.raises(CodecError):
        Adapter.from_bytes(in_place_of_a(msgpack.ExtType(code, payload)))


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 17 + b"\xc0",
        b"\x91" * 1_000 + b"\xc0",
        b"\xdc\xff\xff" * 1_000 + bytes(70_000),
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdd\x00\x01\x86\xa0" * 20_000,
        b"\xdc\xff\xff" * 30_000 + bytes(70_000),
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xc1",
        b"\xa2\xff\xff",
    ],
)
def test_hostile_structure_costs_no_more_memory_than_its_own_size(body: bytes) -> None:
    for data in (signed(body_of(body)), signed(body, version=3)):
        assert_bounded(data)


def assert_bounded(data: bytes) -> None:
    tracemalloc.start()
    try:
        refused_or_read(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(data) + 200_000


@pytest.mark.parametrize("key", [1, None, "__class__", "__reduce__", b"x", 1.5])
def test_maps_are_refused_whatever_their_keys(key: Any) -> None:
    for record in ({key: 1}, [{key: 1}], [[[{key: "os.system"}]]]):
        with pytest.raises(CodecError, match="max_map_len"):
            Adapter.from_bytes(signed(body_of(msgpack.packb(record))))


def test_pickles_and_the_like_are_just_damaged_bytes() -> None:
    for data in (b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"\x93NUMPY\x01\x00", b"{}", b"LoRA"):
        refused_or_read(data)
        refused_or_read(signed(data))
        refused_or_read(signed(body_of(data)))


@laws
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=5)
        | st.binary(max_size=5),
        lambda inner: st.lists(inner, max_size=16),
        max_leaves=40,
    ),
    st.integers(0, 20),
)
def test_well_formed_values_of_the_wrong_shape(value: Any, place: int) -> None:
    refused_or_read(signed(body_of(msgpack.packb(value))))
    record = msgpack.unpackb(RECORD)
    record[place % len(record)] = value
    refused_or_read(signed(body_of(msgpack.packb(record), ARRAYS)))
    former = msgpack.unpackb(FORMER[HEADER:])
    former[place % len(former)] = value
    refused_or_read(former_message(former))
