"""Laws of opening and closing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from lorabank.errors import StoreClosedError
from lorabank.stores import AdapterStore, PopulationRecord
from lorabank_conformance.adapters.base import AdapterOpener, AdapterSuite, key_of
from lorabank_conformance.laws import law


class LifecycleLaws(AdapterSuite):
    """Closing is for good."""

    @law(reopens=True)
    async def test_use_after_close(self, opener: AdapterOpener) -> None:
        """Protects against writes into nowhere: a closed store says so, whoever asks."""
        async with opener() as store:
            await store.commit(self.build.change("ada", episodes=("e",)))
            found = await store.queued(1)
            await store.aclose()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.get("ada"),
            lambda: store.commit(self.build.change("bob")),
            lambda: store.delete("ada"),
            lambda: store.scan(None, 1),
            lambda: store.queued(1),
            lambda: store.settle(found),
            lambda: store.experiences(0.0),
            lambda: store.forget("ada", key_of("ada"), 1.0),
            lambda: store.remains("ada", key_of("ada")),
            lambda: store.put_population("main", PopulationRecord(b"", (), 0.0)),
            lambda: store.population_state("main"),
            lambda: store.get_population("main"),
            lambda: store.delete_population("main"),
            store.counts,
        ]
        for call in calls:
            with pytest.raises(StoreClosedError):
                await call()

    @law(reopens=True)
    async def test_close_twice(self, opener: AdapterOpener) -> None:
        """Protects clean-up code: closing again is no error."""
        async with opener() as store:
            await store.aclose()
            await store.aclose()
        await store.aclose()

    @law(prepared=False)
    async def test_follows_protocol(self, store: AdapterStore) -> None:
        """Protects callers: everything that the protocol names is there."""
        assert isinstance(store, AdapterStore)

    @law(reopens=True)
    async def test_caller_errors_pass_by(self, opener: AdapterOpener) -> None:
        """Protects callers' own error handling: what their block raises is not wrapped."""
        with pytest.raises(ZeroDivisionError):
            async with opener():
                raise ZeroDivisionError
