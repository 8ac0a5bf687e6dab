"""Laws of populations: what many users share."""

from __future__ import annotations

import pytest

from lorabank.errors import InvalidInputError
from lorabank.stores import AdapterStore, PopulationRecord, StoredPopulation
from lorabank_conformance.adapters.base import AdapterOpener, AdapterSuite, key_of
from lorabank_conformance.hostile import HOSTILE
from lorabank_conformance.laws import law

BODY = bytes(range(256)) * 9


def of(*users: str, body: bytes = BODY, at: float = 100.0) -> PopulationRecord:
    """A population of these users' experiences, as they were ``at`` that time."""
    return PopulationRecord(body, tuple(map(key_of, users)), at)


class PopulationLaws(AdapterSuite):
    """One population for each namespace, as bytes that the store does not look into."""

    @law(prepared=False)
    async def test_population_round_trip(self, store: AdapterStore) -> None:
        """Protects what was trained: its bytes come back, the last one put, by namespace."""
        assert await store.get_population("main") is None
        assert await store.population_state("main") is None
        generations = set()
        for body in (b"", BODY, BODY[::-1], BODY):
            state = await store.put_population("main", of("ada", "bob", body=body))
            assert not state.stale
            assert await store.get_population("main") == StoredPopulation(body, state)
            assert await store.population_state("main") == state
            generations.add(state.generation)
        assert len(generations) == 4
        assert await store.get_population("other") is None

    @law(prepared=False)
    async def test_population_namespaces(self, store: AdapterStore) -> None:
        """Protects namespaces from each other's names, whatever they are."""
        states = {}
        for i, name in enumerate(HOSTILE):
            states[name] = await store.put_population(name, of("ada", body=bytes([i])))
        for i, name in enumerate(HOSTILE):
            assert await store.get_population(name) == StoredPopulation(bytes([i]), states[name])
        assert await store.delete_population(HOSTILE[0]) is True
        assert await store.delete_population(HOSTILE[0]) is False
        assert await store.get_population(HOSTILE[0]) is None
        assert await store.population_state(HOSTILE[1]) == states[HOSTILE[1]]

    @law(prepared=False)
    async def test_population_of_the_forgotten(self, store: AdapterStore) -> None:
        """Protects the forgotten: what they are in is to be made again, and names them no more."""
        await store.put_population("one", of("ada", "bob"))
        two = await store.put_population("two", of("bob"))
        assert (await store.remains("ada", key_of("ada"))).populations == 1
        assert (await store.remains("bob", key_of("bob"))).populations == 2
        counts = await store.forget("ada", key_of("ada"), 200.0)
        assert (counts.populations, counts.total) == (1, 1)
        assert (await store.remains("ada", key_of("ada"))).total == 0
        one = await store.get_population("one")
        assert one is not None
        assert (one.body, one.state.stale) == (BODY, True)
        assert await store.population_state("two") == two
        again = await store.put_population("one", of("bob", at=300.0))
        assert not again.stale

    @law(prepared=False)
    async def test_population_of_the_forgotten_meanwhile(self, store: AdapterStore) -> None:
        """Protects the forgotten from a training under way: what it ends with is stale at once.

        Who was forgotten before and came back counts again.
        """
        await store.forget("ada", key_of("ada"), 150.0)
        for at, stale in ((100.0, True), (150.0, True), (150.5, False)):
            state = await store.put_population("main", of("ada", "bob", at=at))
            assert state.stale is stale
            assert await store.population_state("main") == state
            named = (await store.remains("ada", key_of("ada"))).populations
            assert named == (0 if stale else 1)
        assert (await store.remains("bob", key_of("bob"))).populations == 1

    @law(prepared=False)
    async def test_population_deleted(self, store: AdapterStore) -> None:
        """Protects who starts anew: nothing is left, and an old generation never comes back."""
        first = await store.put_population("main", of("ada"))
        assert await store.delete_population("main") is True
        assert (await store.remains("ada", key_of("ada"))).total == 0
        assert await store.population_state("main") is None
        second = await store.put_population("main", of("bob"))
        assert second.generation != first.generation

    @law(prepared=False)
    async def test_population_of_nowhere(self, store: AdapterStore) -> None:
        """Protects the store from what is no text: refused, and it works on."""
        for name in ("", "\ud800"):
            with pytest.raises(InvalidInputError):
                await store.put_population(name, of("ada"))
            for call in (store.get_population, store.population_state, store.delete_population):
                with pytest.raises(InvalidInputError):
                    await call(name)
        await store.put_population("main", of("ada"))

    @law(reopens=True)
    async def test_population_survives(self, opener: AdapterOpener) -> None:
        """Protects what was trained: it is there after opening again, and so is its state."""
        self.require("durable")
        async with opener() as store:
            await store.put_population("fresh", of("bob"))
            await store.put_population("stale", of("ada", "bob"))
            await store.forget("ada", key_of("ada"), 200.0)
            before = [await store.get_population(name) for name in ("fresh", "stale")]
        async with opener() as store:
            after = [await store.get_population(name) for name in ("fresh", "stale")]
            assert after == before
            await store.forget("bob", key_of("bob"), 300.0)
            state = await store.population_state("fresh")
            assert state is not None
            assert state.stale

    @law(reopens=True)
    async def test_population_shared(self, opener: AdapterOpener) -> None:
        """Protects processes that share a store: each sees what the other put or forgot."""
        self.require("shared")
        async with opener() as one, opener() as other:
            state = await one.put_population("main", of("ada"))
            assert await other.get_population("main") == StoredPopulation(BODY, state)
            await other.forget("ada", key_of("ada"), 200.0)
            seen = await one.population_state("main")
            assert seen is not None
            assert (seen.generation, seen.stale) == (state.generation, True)
