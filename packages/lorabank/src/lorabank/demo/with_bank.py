"""The part of a run that has a bank: past users fill it, and new users start from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from lorabank.bank import open_bank
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.demo.assemble import WithBank
from lorabank.demo.clock import ticking
from lorabank.demo.keeping import keeping
from lorabank.demo.place import Place
from lorabank.demo.protocol import Protocol
from lorabank.demo.replay import user_id
from lorabank.demo.work import Work, replay_users
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.protocols import ReasoningBank
from lorabank.stores import AdapterStore, MemoryAdapterStore
from lorabank.stores.sqlite import open_sqlite_store
from lorabank.types.arrays import IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import ConsolidationCriteria
from lorabank.types.strategy import Strategy

MOST = 1_000_000  # users in a run, by far


async def run_with_bank(work: Work, place: Place) -> WithBank:
    """All of it, going on after what ``place`` holds already."""
    config, split = replace(work.config, namespace=place.namespace), work.protocol.split
    async with _store(place, config) as store:
        clock = Clock(wall=ticking(await _last_moment(store)))
        async with (
            open_bank(work.settings.bank, space=config.space, clock=clock.wall) as bank,
            LoRAPersonalizationEngine(config, bank, items=work.pool, clock=clock) as engine,
            keeping(engine, store, clock) as past_users,
            keeping(engine, MemoryAdapterStore(), clock) as new_users,
        ):
            if place.continued:
                await _forget_new_users(engine, split.new)
            past = await replay_users(past_users, work, split.past, "replay")
            await past_users.flush()
            consolidation = await _consolidate(engine, store, clock, work)
            new = await replay_users(new_users, work, split.new, "with_bank")
            await new_users.flush()
            strategy = await _strategy(bank, work.protocol, engine)
            left = (await past_users.finish(), await new_users.finish())
            stats, held = engine.stats(), await bank.stats(place.namespace)
            skills = tuple(await bank.skills(place.namespace))
    return WithBank(past, new, stats, left, consolidation, strategy, held, skills)


@asynccontextmanager
async def _store(place: Place, config: EngineConfig) -> AsyncIterator[AdapterStore]:
    if place.file is None:
        yield MemoryAdapterStore(config.replay)
        return
    async with open_sqlite_store(str(place.file), config.replay) as store:
        yield store


async def _last_moment(store: AdapterStore) -> float | None:
    """When the last update was made that is kept; None without any."""
    last = None
    for name in await store.scan(None, MOST):
        stored = await store.get(name)
        if stored is not None and stored.adapter.pending is not None:
            last = max(last or 0.0, stored.adapter.pending.created_at)
    return last


async def _forget_new_users(engine: LoRAPersonalizationEngine, users: IntArray) -> None:
    """The killed run may have begun with them."""
    for user in users:
        await engine.forget(user_id(int(user)))


async def _consolidate(
    engine: LoRAPersonalizationEngine, store: AdapterStore, clock: Clock, work: Work
) -> ConsolidationReport:
    async def experiences() -> Mapping[str, Sequence[Feedback]]:
        return await store.experiences(clock.wall())

    with work.watch.stage("consolidate") as tell:

        def on_epoch(progress: Progress) -> None:
            tell(progress.epoch, progress.epochs + 1)

        criteria = ConsolidationCriteria(max_groups=work.settings.groups)
        return await engine.consolidate_adaptation_patterns(
            criteria, experiences=experiences, on_progress=on_epoch
        )


async def _strategy(
    bank: ReasoningBank, protocol: Protocol, engine: LoRAPersonalizationEngine
) -> Strategy:
    """What the bank advises for the average context of all."""
    query = Query(
        namespace=engine.config.namespace,
        context=protocol.events.x.mean(axis=0),
        where=PatternFilter(objective=engine.config.objective),
        defaults=engine.config.defaults,
    )
    return await bank.learn_strategy(query)
