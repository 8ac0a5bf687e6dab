"""Long texts never reach the SDK in one piece, and come back word for word."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lorabank.errors import BankUnavailableError
from lorabank_agentic_flow import open_store, pumps
from lorabank_agentic_flow.aside import LONGEST, Aside, Cutter, decoded
from lorabank_agentic_flow.listing import read_listing
from lorabank_agentic_flow.replies import Reply
from tests.agentic_flow.raw import raw_client
from tests.agentic_flow.samples import LATER, ids, pattern
from tests.agentic_flow.test_replies import printed

# Texts around the limit, full of what JSON escapes, in both ways of writing JSON.
FILL = st.sampled_from(["a", '"', "\\", "\n", "ä", "🎬", "\u2028", "\x00", "\\u", "\ud83d"])
LONG = st.builds(
    lambda start, fill, end: start + fill * (LONGEST // len(fill) + 1) + end,
    st.text(max_size=5),
    FILL,
    st.text(max_size=5),
)
VALUES = st.recursive(
    st.text(max_size=8) | LONG | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def chunks(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The data in pieces; cuts are lengths, used again and again."""
    pieces, place, turn = [], 0, 0
    while place < len(data):
        length = cuts[turn % len(cuts)]
        pieces.append(data[place : place + length])
        place, turn = place + length, turn + 1
    return pieces


def restored(value: Any, held: Aside) -> Any:
    """A message with what was set aside put back."""
    if isinstance(value, list):
        return [restored(item, held) for item in value]
    if isinstance(value, dict):
        return {restored(key, held): restored(item, held) for key, item in value.items()}
    parts = held.take(value) if isinstance(value, str) else None
    return value if parts is None else "".join(decoded(parts))


@given(
    st.lists(VALUES, min_size=1, max_size=3),
    st.booleans(),
    st.lists(st.integers(1, 3 * LONGEST), min_size=1, max_size=4),
)
@example(["\\" * LONGEST], False, [LONGEST + 3, 1])
@example(["🎬" * LONGEST], True, [LONGEST + 8, 5])
@example(["\ud83d" * LONGEST], True, [LONGEST + 8, 7])
def test_messages_come_back_word_for_word_however_they_arrive(
    messages: list[Any], ascii_only: bool, cuts: list[int]
) -> None:
    lines = [json.dumps(message, ensure_ascii=ascii_only) for message in messages]
    data = "\n".join(lines).encode("utf-8", "surrogatepass" if ascii_only else "replace")
    lines = data.decode().split("\n")
    held = Aside()
    cutter = Cutter(held)
    passed = b"".join([*map(cutter.feed, chunks(data, cuts)), cutter.finish()])
    for line, original in zip(passed.decode().split("\n"), lines, strict=True):
        message = json.loads(line)
        assert longest(message) <= LONGEST
        assert restored(message, held) == json.loads(original)
    assert not len(held)


def longest(value: Any) -> int:
    """Bytes of the longest string in a message."""
    if isinstance(value, list):
        return max(map(longest, value), default=0)
    if isinstance(value, dict):
        return max((longest(item) for pair in value.items() for item in pair), default=0)
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else 0


@given(st.binary(max_size=200), st.integers(1, 9))
def test_what_is_no_json_passes_as_it_is(data: bytes, length: int) -> None:
    cutter = Cutter(Aside())
    passed = [cutter.feed(chunk) for chunk in chunks(data, [length])]
    assert b"".join([*passed, cutter.finish()]) == data


def test_a_string_that_is_never_closed_passes_at_the_end_of_the_line() -> None:
    held = Aside()
    cutter = Cutter(held)
    open_string = b'data: "' + b"x" * (2 * LONGEST)
    assert cutter.feed(open_string) == b'data: "'
    assert cutter.feed(b"\n") == open_string[7:] + b"\n"
    assert cutter.feed(b'{"a":1}\n') == b'{"a":1}\n'


def test_a_long_text_is_decoded_in_pieces() -> None:
    text = json.dumps("ä🎬\n\\" * LONGEST)[1:-1].encode()
    parts = chunks(text, [1 << 16])
    pieces = list(decoded(parts))
    assert "".join(pieces) == "ä🎬\n\\" * LONGEST
    assert max(map(len, pieces)) <= 1 << 16
    assert len(pieces) > 5


@pytest.mark.parametrize("damaged", [b"\\x", b"\xff\xfe", b"a\\", b"\\u12"])
def test_what_can_not_be_decoded_is_a_typed_error(damaged: bytes) -> None:
    with pytest.raises(BankUnavailableError, match="can't be decoded"):
        _ = Reply([[b"fine ", damaged]]).text


def test_answers_to_calls_that_were_given_up_do_not_pile_up() -> None:
    now = 0.0
    held = Aside(10.0, lambda: now)
    first = held.put([b"a"])
    now = 10.1
    second = held.put([b"b"])
    assert held.take(first) is None
    assert held.take(second) == [b"b"]
    assert held.take(second) is None
    assert held.take("lorabank-aside-1") is None


@given(st.lists(st.text(max_size=9), min_size=1, max_size=4), st.integers(1, 70))
def test_a_listing_reads_the_same_however_it_is_cut(tasks: list[str], length: int) -> None:
    text = printed(tasks)
    pieces = [text[place : place + length] for place in range(0, len(text), length)]
    assert read_listing(pieces) == read_listing([text])


MANY = 120  # patterns whose listing is ten times what the SDK may see
TASK = "x" * (10 * LONGEST // MANY)


@pytest.mark.anyio
async def test_over_stdio_no_long_text_reaches_the_sdk(
    stdio_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def read(line: bytes) -> Any:
        seen.append(len(line))
        return real_read(line)

    real_read = pumps.read_message
    monkeypatch.setattr(pumps, "read_message", read)
    with anyio.fail_after(300):
        async with open_store(stdio_url) as store:
            await store.put_many([pattern(i, task=TASK) for i in range(MANY)])
        async with open_store(stdio_url) as store:
            assert len(await ids(store)) == MANY
    assert seen
    assert max(seen) < 2 * LONGEST


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
async def test_over_http_no_long_text_reaches_the_sdk(
    http_address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded_parts: list[int] = []

    def decode(parts: Sequence[bytes]) -> Any:
        decoded_parts.extend(map(len, parts))
        return decoded(parts)

    monkeypatch.setattr("lorabank_agentic_flow.replies.decoded", decode)
    url = f"agentic-flow+http://{http_address}/mcp?timeout=200"
    # The SDK logs every message that it has decoded, in full.
    with anyio.fail_after(300), caplog.at_level(logging.DEBUG, "mcp.client.streamable_http"):
        async with open_store(url) as store:
            await store.put_many([pattern(i, task=TASK) for i in range(MANY)])
            caplog.clear()
            store._mirror.forget()
            assert len(await ids(store)) >= MANY
        messages = [record.getMessage() for record in caplog.records]
        async with raw_client(url) as call:
            await call("agentdb_delete", {"filters": {"before_timestamp": LATER}})
    received = [len(text) for text in messages if text.startswith("SSE message")]
    assert received
    assert max(received) < 2 * LONGEST
    assert sum(decoded_parts) > 10 * LONGEST  # so the listing went another way,
    # in pieces as they arrived, and a backslash that had waited for what it escapes
    assert max(decoded_parts) <= (1 << 16) + 1
