"""What a personalizer is made of, put together once, begun and ended in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio

from lorabank.background import background
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.personalizer.adapters import Adapters
from lorabank.personalizer.bank_part import BankPart
from lorabank.personalizer.consolidating import Consolidator
from lorabank.personalizer.courier import StoreQueue
from lorabank.personalizer.forgetting import Forgetter
from lorabank.personalizer.learner import Learner
from lorabank.personalizer.limits import Limits
from lorabank.personalizer.locks import KeyedLocks
from lorabank.personalizer.many import ManyUsers
from lorabank.personalizer.populations import Populations
from lorabank.personalizer.serving import Serving
from lorabank.personalizer.upkeep import Upkeep
from lorabank.protocols import ReasoningBank
from lorabank.stores import AdapterStore, open_adapter_store
from lorabank.types.items import ItemPool


@dataclass(frozen=True, slots=True)
class Parts:
    """Each does one thing; the `Personalizer` in front of them does nothing by itself."""

    engine: LoRAPersonalizationEngine
    store: AdapterStore
    adapters: Adapters
    locks: KeyedLocks
    queue: StoreQueue
    learner: Learner
    many: ManyUsers
    serving: Serving
    forgetter: Forgetter
    consolidator: Consolidator
    populations: Populations
    upkeep: Upkeep


@asynccontextmanager
async def opened(
    config: EngineConfig,
    store: str | AdapterStore,
    bank: str | ReasoningBank | None,
    items: ItemPool | None,
    clock: Clock,
    limits: Limits,
) -> AsyncIterator[Parts]:
    """Open the store, the bank and the engine, and close them in the end."""
    # The replay is the store's, and consolidation reads it there.
    plain = replace(config, replay=replace(config.replay, enabled=False), consolidate_every=None)
    engine = LoRAPersonalizationEngine(plain, bank, items=items, clock=clock)
    async with _opened_store(store, config) as found, engine, background() as tasks:
        parts = _put_together(engine, found, items, clock, limits)
        try:
            parts.upkeep.start(tasks, config.consolidate_every)
            if engine.trains_populations and await parts.populations.is_stale():
                parts.consolidator.ask()
            yield parts
        finally:
            if engine.has_reasoning_bank():
                await parts.upkeep.drain()
                await parts.upkeep.resign()
            tasks.cancel_scope.cancel()


def _put_together(
    engine: LoRAPersonalizationEngine,
    store: AdapterStore,
    items: ItemPool | None,
    clock: Clock,
    limits: Limits,
) -> Parts:
    config, locks = engine.config, KeyedLocks()
    threads = anyio.CapacityLimiter(config.worker_threads)
    adapters = Adapters(
        engine,
        store,
        clock,
        capacity=limits.hot_adapters,
        max_bytes=limits.hot_bytes,
        fresh_for=limits.fresh_for,
    )
    populations = Populations(engine, store, clock, fresh_for=limits.fresh_for)
    consolidator = Consolidator(engine, store, populations, clock)
    bank_part = BankPart(engine, store, consolidator.ask)
    queue = StoreQueue(store, bank_part.forget_again, clock)
    learner = Learner(
        engine,
        store,
        adapters,
        populations,
        locks,
        clock,
        concurrency=limits.concurrency,
        patience=limits.patience,
        queued=queue.notify,
    )
    upkeep = Upkeep(engine, store, queue, clock, consolidator)
    many = ManyUsers(adapters, learner, threads, config.space.dim, limits.concurrency)
    return Parts(
        engine=engine,
        store=store,
        adapters=adapters,
        locks=locks,
        queue=queue,
        learner=learner,
        many=many,
        serving=Serving(config, items, adapters, populations, many, threads),
        forgetter=Forgetter(
            config,
            store,
            bank_part,
            adapters,
            queue,
            locks,
            clock,
            rebuild=consolidator.ask,
            alone=upkeep.seek_lead,
        ),
        consolidator=consolidator,
        populations=populations,
        upkeep=upkeep,
    )


@asynccontextmanager
async def _opened_store(
    store: str | AdapterStore, config: EngineConfig
) -> AsyncIterator[AdapterStore]:
    """A store given by URL is opened and closed here; an instance is the caller's."""
    if isinstance(store, str):
        async with open_adapter_store(store, replay=config.replay) as opened:
            yield opened
    else:
        yield store
