"""The population that all users are served with: in the store, and bound to the pool here."""

from __future__ import annotations

from dataclasses import replace

import anyio
import anyio.to_thread

from lorabank.adapter import Adapter
from lorabank.clock import Clock
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.errors import CodecError, InvalidInputError
from lorabank.experts import BoundExperts
from lorabank.logs import get_logger
from lorabank.population import Population
from lorabank.stores import AdapterStore, PopulationRecord

log = get_logger(__name__)


class Populations:
    """Keeps the engine's population as the store has it. Belongs to one event loop.

    Args:
        engine: serves and updates with it.
        store: holds it for all processes.
        clock: tells how old what we know is.
        fresh_for: seconds for which it is used without asking the store again.
    """

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        clock: Clock,
        *,
        fresh_for: float,
    ) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._fresh_for = fresh_for
        self._namespace = engine.config.namespace
        self._generation: int | None = None
        self._read_at: float | None = None
        self._reading = anyio.Lock()

    async def current(self) -> BoundExperts | None:
        """As the store had it at most ``fresh_for`` seconds ago; None if there is none."""
        if self._engine.takes_populations and not self._is_fresh():
            async with self._reading:
                if not self._is_fresh():
                    await self._read()
        return self._engine.experts

    async def catch_up_with(self, adapter: Adapter) -> None:
        """Before an update: an adapter of another population may know a newer one than we do.

        Otherwise two processes would take turns in starting its mixture anew.
        """
        experts, state = self._engine.experts, adapter.experts
        known = "" if experts is None else experts.id
        if state is not None and state.population not in ("", known):
            async with self._reading:
                await self._read()

    async def keep(self, population: Population, read_at: float) -> bool:
        """Store a population made of what the store held at ``read_at``, and use it.

        What is stored names no users; the store keeps their keys beside it. Returns whether it is
        stale already, because one of them was forgotten meanwhile.
        """
        keys, population = population.user_keys, _without_keys(population)
        body = await anyio.to_thread.run_sync(population.to_bytes)
        async with self._reading:
            state = await self._store.put_population(
                self._namespace, PopulationRecord(body, keys, read_at)
            )
            await self._engine.use_population(population)
            self._generation, self._read_at = state.generation, self._clock.monotonic()
        return state.stale

    async def drop_if_stale(self) -> None:
        """There is nothing left to make it of."""
        if await self.is_stale():
            async with self._reading:
                await self._store.delete_population(self._namespace)
                await self._read()

    async def is_stale(self) -> bool:
        """Whether the stored one has to be made again."""
        state = await self._store.population_state(self._namespace)
        return state is not None and state.stale

    def _is_fresh(self) -> bool:
        read_at = self._read_at
        return read_at is not None and self._clock.monotonic() - read_at <= self._fresh_for

    async def _read(self) -> None:
        read_at = self._clock.monotonic()
        state = await self._store.population_state(self._namespace)
        if state is None:
            await self._engine.use_population(None)
            self._generation = None
        elif state.generation != self._generation:
            stored = await self._store.get_population(self._namespace)
            await self._use(None if stored is None else stored.body)
            self._generation = None if stored is None else stored.state.generation
        self._read_at = read_at

    async def _use(self, body: bytes | None) -> None:
        """One that does not fit (the pool has changed) is left alone until the next is made."""
        try:
            found = None
            if body is not None:
                found = await anyio.to_thread.run_sync(Population.from_bytes, body)
            await self._engine.use_population(found)
        except (CodecError, InvalidInputError) as exc:
            log.warning("the stored population is not used: consolidate", reason=str(exc))
            await self._engine.use_population(None)


def _without_keys(population: Population) -> Population:
    adapters = tuple(replace(adapter, user_keys=()) for adapter in population.adapters)
    return replace(population, adapters=adapters, user_keys=())
