"""Long texts are not encoded by the SDK, and arrive word for word."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabank.types.query import EVERYTHING
from lorabank_agentic_flow import open_store, pumps
from lorabank_agentic_flow.outgoing import LONGEST, GivenUpError, Outgoing
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.samples import pattern

LONG = 'ä🎬\n\\"\x00' * LONGEST


@given(st.text(min_size=1, max_size=20), st.integers(1, 5 * LONGEST), st.text(max_size=9))
def test_a_message_comes_out_as_if_it_had_been_encoded_whole(
    fill: str, times: int, other: str
) -> None:
    arguments = {"task": fill * times, "other": other, "reward": 0.5}

    async def check() -> None:
        outgoing = Outgoing()
        short = await outgoing.cut(arguments)
        assert all(len(str(value)) <= LONGEST for value in short.values())
        message = json.dumps({"id": 1, "arguments": short}).encode()
        pieces = outgoing.filled(message)
        assert max(map(len, pieces)) <= 12 * (1 << 16)
        assert json.loads(b"".join(pieces)) == {"id": 1, "arguments": arguments}

    anyio.run(check)


@pytest.mark.anyio
async def test_a_message_of_a_call_that_is_over_is_not_sent_with_a_key_in_it() -> None:
    outgoing = Outgoing()
    short = await outgoing.cut({"task": LONG})
    message = json.dumps(short).encode()
    assert len(outgoing.filled(message)) > 3
    outgoing.forget(short)
    with pytest.raises(GivenUpError):
        outgoing.filled(message)


@pytest.mark.anyio
async def test_over_stdio_the_sdk_encodes_no_long_text(
    stdio_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    write = pumps.write_message

    def measured(message: Any) -> bytes:
        line = write(message)
        encoded.append(len(line))
        return line

    monkeypatch.setattr(pumps, "write_message", measured)
    with anyio.fail_after(300):
        async with open_store(stdio_url) as store:
            await store.put_many([pattern(1, task=LONG)])
        async with open_store(stdio_url) as store:
            (found,) = await store.get(NAMESPACE, ["p001"])
            assert found.task == LONG
    assert encoded
    assert max(encoded) < LONGEST


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
async def test_over_http_the_sdk_encodes_no_long_text(
    http_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The SDK logs every message that it sends, in full.
    with anyio.fail_after(300), caplog.at_level(logging.DEBUG, "mcp.client.streamable_http"):
        async with open_store(f"agentic-flow+http://{http_address}/mcp?timeout=200") as store:
            await store.put_many([pattern(77, task=LONG)])
            store._mirror.forget()
            (found,) = await store.get(NAMESPACE, ["p077"])
            assert found.task == LONG
            await store.delete(NAMESPACE, EVERYTHING)
    sent = [len(r.getMessage()) for r in caplog.records if "Sending client" in r.getMessage()]
    assert sent
    assert max(sent) < LONGEST
