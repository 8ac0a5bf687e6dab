"""Servers that are slow, or say what is not known: typed errors, in time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from lorabank import (
    EngineConfig,
    Feedback,
    LoRAPersonalizationEngine,
    OutboxConfig,
    QueryConfig,
    StandardBank,
)
from lorabank.errors import BankRejectedError, BankUnavailableError
from lorabank_agentic_flow import open_store
from lorabank_agentic_flow.opening import run_store
from lorabank_agentic_flow.settings import Settings
from lorabank_agentic_flow.stdio import StdioTransport
from lorabank_conformance.samples import NAMESPACE
from tests.agentic_flow.samples import MAKE, SPACE, ids, pattern

pytestmark = pytest.mark.anyio
LIMIT = 300
SCHEMA = "create table if not exists episodes (id); create table episode_embeddings (id);"
Behave = Callable[..., None]


@pytest.fixture
def behave(tmp_path: Path) -> Behave:
    """Sets what the fake server does."""

    def set_behaviour(**tools: dict[str, Any]) -> None:
        (tmp_path / "behaviour.json").write_text(json.dumps(tools))

    set_behaviour()
    return set_behaviour


@pytest.fixture
def fake(tmp_path: Path) -> StdioTransport:
    """The fake server as a child."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "schema.sql").write_text(SCHEMA)
    (tmp_path / "schemas" / "frontier-schema.sql").write_text("")
    script = Path(shutil.copy(Path(__file__).with_name("fake_server.py"), tmp_path))
    return StdioTransport(tmp_path / "a.db", script, sys.executable)


async def test_the_fake_server_is_like_the_real_one(fake: StdioTransport, behave: Behave) -> None:
    with anyio.fail_after(LIMIT):
        async with run_store(fake, Settings()) as store:
            await store.put_many([pattern(1)])
            assert await ids(store) == ["p001"]


async def test_a_slow_server_costs_no_more_than_the_time_limit(
    fake: StdioTransport, behave: Behave
) -> None:
    with anyio.fail_after(LIMIT):
        async with run_store(fake, Settings(timeout=0.5)) as store:
            await store.put_many([pattern(1)])
            behave(reflexion_store={"hang": True})
            with pytest.raises(
                BankUnavailableError, match=r"reflexion_store: no answer within 0\.5"
            ):
                await store.put_many([pattern(2)])
            # Reading needs no server, and what was not acknowledged is not there.
            assert await ids(store) == ["p001"]
            behave(
                agentdb_delete={"say": "✅ Delete operation completed!\n📊 Deleted: 0 vector(s)\n"}
            )
            await store.put_many([pattern(3)])
            assert await ids(store) == ["p001", "p003"]


async def test_prose_that_is_not_known_is_an_error_with_its_first_line(
    fake: StdioTransport, behave: Behave
) -> None:
    with anyio.fail_after(LIMIT):
        async with run_store(fake, Settings()) as store:
            behave(reflexion_store={"say": "Saved it, boss!\nreally"})
            with pytest.raises(BankRejectedError, match=r"Saved it, boss!$"):
                await store.put_many([pattern(1)])
            assert await ids(store) == []


async def test_an_odd_listing_fails_the_opening(fake: StdioTransport, behave: Behave) -> None:
    behave(reflexion_retrieve={"say": "Here are 3 episodes:"})
    with anyio.fail_after(LIMIT), pytest.raises(BankRejectedError, match="Here are 3 episodes"):
        async with run_store(fake, Settings()):
            pass


async def test_a_record_of_more_than_ten_mebibytes_is_refused_before_it_is_sent(
    fake: StdioTransport, behave: Behave
) -> None:
    behave(reflexion_store={"hang": True}, reflexion_store_batch={"hang": True})
    with anyio.fail_after(LIMIT):
        async with run_store(fake, Settings()) as store:
            huge = pattern(1, task="x" * (11 << 20))
            with pytest.raises(BankRejectedError, match="bytes"):
                await store.put_many([pattern(0), huge])
            assert await ids(store) == []


async def test_an_engine_goes_on_though_its_bank_never_answers(
    fake: StdioTransport, behave: Behave
) -> None:
    # A call may take ten times as long as all of this may.
    outbox = OutboxConfig(drain=0.1, deadline=10.0 * LIMIT)
    query = QueryConfig(refresh_every=1, deadline=10.0 * LIMIT)
    config = EngineConfig(space=SPACE, query=query, outbox=outbox)
    with anyio.fail_after(LIMIT):
        async with run_store(fake, Settings(timeout=10.0 * LIMIT)) as store:
            await store.put_many([pattern(1)])
            async with LoRAPersonalizationEngine(config, bank=StandardBank(store)) as engine:
                hang = {"hang": True}
                behave(reflexion_store=hang, reflexion_store_batch=hang, db_stats=hang)
                store._mirror.forget()  # so that whoever reads has to ask
                adapter = await engine.create_adapter("ada")
                waits: list[float] = []
                for number in range(12):
                    feedback = Feedback(MAKE.axis(number), MAKE.axis(number + 1))
                    adapter, report = await engine.update_adapter(adapter, feedback)
                    assert report.cache == "timeout"
                    waits.append(report.seconds.wait)
            assert adapter.version == 12
            assert min(waits) <= query.budget  # a busy machine may wake some of them late


async def test_an_engine_fills_a_real_remote(stdio_url: str) -> None:
    config = EngineConfig(space=SPACE)
    with anyio.fail_after(300):
        async with LoRAPersonalizationEngine(config, bank=stdio_url) as engine:
            adapter = await engine.create_adapter("ada")
            for number in range(6):
                feedback = Feedback(MAKE.axis(number), MAKE.axis(number + 1))
                adapter = (await engine.update_adapter(adapter, feedback)).adapter
        async with open_store(stdio_url) as store:
            assert store.space == SPACE
            assert (await store.stats(NAMESPACE)).patterns == 6
