"""The laws of adapter stores catch every fault planted into the memory store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.stores.mutants import CAUGHT_BY

from lorabank.config import ReplayConfig
from lorabank.stores import MemoryAdapterStore
from lorabank_conformance import AdapterStoreConformance
from lorabank_conformance.adapters.base import AdapterOpener


class Suite(AdapterStoreConformance):
    """Of a store in memory."""

    durable = False
    shared = False


def opener_of(kind: type[MemoryAdapterStore]) -> AdapterOpener:
    @asynccontextmanager
    async def opened(replay: ReplayConfig | None = None) -> AsyncIterator[MemoryAdapterStore]:
        store = kind(replay)
        try:
            yield store
        finally:
            await store.aclose()

    return opened


@pytest.mark.parametrize("mutant", CAUGHT_BY, ids=lambda mutant: mutant.__name__)
def test_mutant_is_caught(mutant: type[MemoryAdapterStore]) -> None:
    law = getattr(Suite, "test_" + CAUGHT_BY[mutant].replace("-", "_"))
    law(Suite(), opener_of(MemoryAdapterStore), "asyncio")
    with pytest.raises((Exception, pytest.fail.Exception)):
        law(Suite(), opener_of(mutant), "asyncio")


def test_random_histories_catch_some_by_themselves() -> None:
    law = Suite.test_history_as_in_memory
    for mutant in CAUGHT_BY:
        if mutant.__name__ in ("PhantomEpisodes", "NewestFirst", "GoneMeansForgotten"):
            with pytest.raises((Exception, pytest.fail.Exception)):
                law(Suite(), opener_of(mutant), "asyncio")
