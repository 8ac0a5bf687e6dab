"""What an acknowledgement means: committed once, on the fresh adapter, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import numpy as np
import pytest
from tests.engine.banks import ScriptedBank, failing, make_config
from tests.personalizer.stores import ScriptedStore, batch, key, learn, once

from lorabank import EmbeddingSpace, EngineConfig, QueryConfig, UpdateReport
from lorabank.errors import InvalidInputError, StoreUnavailableError
from lorabank.personalizer import Personalizer
from lorabank.stores import Change, open_adapter_store

CancelAt = Callable[[int, Coroutine[Any, Any, Any]], Awaitable[bool]]


async def test_learning_is_kept_across_restarts(sqlite_url: str) -> None:
    x = batch(99).x
    async with Personalizer.open(make_config(), store=sqlite_url) as p:
        await learn(p, "ada", 30)
        before = await p.transform("ada", x)
        assert not np.array_equal(before, x)
    async with Personalizer.open(make_config(), store=sqlite_url) as p:
        assert np.array_equal(await p.transform("ada", x), before)
        await p.learn("ada", batch(1))
    async with open_adapter_store(sqlite_url) as store:
        found = await store.get("ada")
        assert found is not None
        assert found.adapter.version == 31


async def test_a_lost_race_is_computed_again_and_leaves_no_phantom() -> None:
    store, bank = ScriptedStore(), ScriptedBank()
    async with Personalizer.open(make_config(), store=store, bank=bank) as p:
        await learn(p, "ada", 2)
        await p._parts.upkeep.drain()

        async def somebody_else() -> None:
            found = await store.inner.get("ada")
            assert found is not None
            async with Personalizer.open(make_config(), store=store.inner) as other:
                await other.learn("ada", batch(50))

        store.script["commit"] = once(somebody_else)
        report = await p.learn("ada", batch(3))
        found = await store.get("ada")
        assert found is not None
        assert found.adapter.version == 4
        # The winner finished the pending episode; the loser's attempt at it has left nothing.
        assert report.finished is None
        assert (await store.counts()).queued == 1
        assert (await store.counts()).experiences == 4
        assert store.calls["commit"] == 4


async def test_losing_for_ever_ends_in_a_typed_error() -> None:
    store = ScriptedStore()
    async with Personalizer.open(make_config(), store=store, patience=0.05) as p:
        await learn(p, "ada", 1)

        async def somebody_else() -> None:
            found = await store.inner.get("ada")
            assert found is not None
            await store.inner.commit(Change(found.adapter, key("ada"), found.revision))

        store.script["commit"] = somebody_else
        with anyio.fail_after(10), pytest.raises(StoreUnavailableError, match="other processes"):
            await p.learn("ada", batch(2))
        found = await store.inner.get("ada")
        assert found is not None
        assert found.adapter.version == 1


async def test_unknown_users_are_served_and_not_stored(store_url: str) -> None:
    x = batch(1).x
    async with Personalizer.open(make_config(), store=store_url) as p:
        assert np.array_equal(await p.transform("nobody", x), x)
        assert np.array_equal(await p.transform("nobody", x[0]), x[0])
        assert (await p.rank("nobody", x[0], x, 2))[0].position == 0
        assert (await p.stats())[1].adapters == 0


async def test_bad_feedback_changes_nothing(store_url: str) -> None:
    async with Personalizer.open(make_config(), store=store_url) as p:
        await learn(p, "ada", 1)
        for bad in (None, np.ones(6)):
            with pytest.raises(InvalidInputError):
                await p.learn("ada", bad)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            await p.transform("ada", np.ones((2, 5)))
        await learn(p, "ada", 1)
        assert (await p.stats())[1].experiences == 2


async def test_another_encoders_adapters_are_refused(sqlite_url: str) -> None:
    async with Personalizer.open(make_config(), store=sqlite_url) as p:
        await learn(p, "ada", 1)
    other = EngineConfig(EmbeddingSpace("another", 6), rank=2)
    async with Personalizer.open(other, store=sqlite_url) as p:
        for call in (lambda: p.transform("ada", batch(1).x), lambda: p.learn("ada", batch(1))):
            with pytest.raises(InvalidInputError, match="space"):
                await call()
        await learn(p, "bob", 1)


async def test_a_failing_store_loses_nothing() -> None:
    store, bank = ScriptedStore(), ScriptedBank()
    async with Personalizer.open(make_config(), store=store, bank=bank) as p:
        first = await learn(p, "ada", 3)
        store.script["commit"] = failing(StoreUnavailableError("disk full"), times=1)
        with pytest.raises(StoreUnavailableError, match="disk full"):
            await p.learn("ada", batch(3))
        rest = await learn(p, "ada", 2, first=3)
        found = await store.get("ada")
        assert found is not None
        assert found.adapter.version == 5
    finished = [r.finished.id for r in (*first, *rest) if r.finished is not None]
    assert [p.id for some in bank.received for p in some] == finished


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_cancelled_at_every_await(
    cancel_at: CancelAt, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Learned entirely or not at all; what is served afterwards is what is stored."""
    config = make_config(query=QueryConfig(budget=5.0))
    x = batch(99).x
    for k in range(200):
        path = tmp_path_factory.mktemp("cancel")
        url = "memory://" if kind == "memory" else f"sqlite:///{path}/app.db"
        with anyio.fail_after(10):
            async with (
                open_adapter_store(url) as store,
                Personalizer.open(config, store=store) as p,
            ):
                await learn(p, "ada", 2)
                done: list[UpdateReport] = []

                async def update() -> None:
                    done.append(await p.learn("ada", batch(7)))  # noqa: B023

                completed = await cancel_at(k, update())
                found = await store.get("ada")
                assert found is not None
                happened = found.adapter.version == 3
                assert happened or (found.adapter.version == 2 and not done)
                assert (await store.counts()).experiences == found.adapter.version
                served = await p.transform("ada", x)
                # By another kernel, so not to the bit.
                assert np.allclose(served, found.adapter.transform(x), rtol=1e-5, atol=1e-6)
                await p.learn("ada", batch(8))
                again = await store.get("ada")
                assert again is not None
                assert again.adapter.version == found.adapter.version + 1
        if completed:
            assert happened
            return
    pytest.fail("it never completes")
