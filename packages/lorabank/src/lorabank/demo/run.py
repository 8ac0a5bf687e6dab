"""One run of the demo, from a seed to its numbers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import anyio.to_thread

from lorabank.bank import open_bank
from lorabank.clock import Clock
from lorabank.config import EngineConfig
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.demo.assemble import WithBank, assemble
from lorabank.demo.clock import ticking
from lorabank.demo.data import Data
from lorabank.demo.keeping import Keeper, keeping
from lorabank.demo.place import Place, place_for, run_name
from lorabank.demo.protocol import Protocol, batches_in_time, make_protocol
from lorabank.demo.rate import choose_rate
from lorabank.demo.replay import Replay, Replayed, user_id
from lorabank.demo.results import Run
from lorabank.demo.scoring import score_all
from lorabank.demo.settings import DemoSettings, engine_config
from lorabank.demo.tuning import tune
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.protocols import ReasoningBank
from lorabank.stores import AdapterStore, MemoryAdapterStore
from lorabank.stores.sqlite import open_sqlite_store
from lorabank.types.arrays import IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import ConsolidationCriteria
from lorabank.types.strategy import Strategy

OnProgress = Callable[[str, int, int], None]
OnNote = Callable[[str], None]
MOST = 1_000_000  # users in a run, by far


@dataclass(slots=True)
class Watch:
    """Seconds per stage, told to whoever watches: ``(stage, done, total)``; and notes."""

    on_progress: OnProgress
    on_note: OnNote
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Times a stage; yields a callback for (done, total)."""
        started = time.perf_counter()
        self.on_progress(name, 0, 1)
        yield lambda done, total: self.on_progress(name, done, total)
        self.seconds[name] = time.perf_counter() - started
        self.on_progress(name, 1, 1)


async def run(
    data: Data, settings: DemoSettings, on_progress: OnProgress, on_note: OnNote = lambda _: None
) -> Run:
    """Tune on past users, fill the bank with them, consolidate, and let the new users come.

    If the bank's URL names a directory that is there, past users' updates are kept in it until
    the run is done. If this raises, or its process is killed, the next run with the same settings
    goes on after the last one that was kept. New users begin again: it would not be known what
    they were served.

    Raises:
        BankError: the bank can't be opened, or fails at consolidation.
        StoreError: updates can't be kept.
        InvalidInputError: settings that do not fit the data.
    """
    watch = Watch(on_progress, on_note)
    with watch.stage("tune"):
        protocol = await anyio.to_thread.run_sync(make_protocol, data, settings)
        tuned = await anyio.to_thread.run_sync(tune, protocol, settings)
        config = engine_config(settings, data.space, tuned.identity, "tuning")
        rate = await anyio.to_thread.run_sync(choose_rate, protocol, settings, config)
        settings = replace(settings, online=replace(settings.online, learning_rate=rate))
    pool = ItemPool(data.vectors, protocol.popularity, sampling_power=1.0)
    config = engine_config(settings, data.space, tuned.identity, "none")
    work = Work(protocol, settings, config, pool, watch)
    with place_for(settings.bank, run_name(data, settings, config), time.time()) as place:
        with_bank = await _with_bank(work, place)
        without = await _without_bank(work)
        served = {
            "without_bank": without.served,
            "bank_start": with_bank.new.start,
            "with_bank": with_bank.new.served,
        }
        with watch.stage("score"):
            arguments = (protocol, tuned, pool.log_prior, served)
            scores = await anyio.to_thread.run_sync(score_all, *arguments)
    return assemble(protocol, settings, tuned, scores, with_bank, without, watch.seconds)


@dataclass(frozen=True, slots=True)
class Work:
    """What every part of a run needs."""

    protocol: Protocol
    settings: DemoSettings
    config: EngineConfig
    pool: ItemPool
    watch: Watch


async def _with_bank(work: Work, place: Place) -> WithBank:
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
            past = await _replay(past_users, work, split.past, "replay")
            await past_users.flush()
            consolidation = await _consolidate(engine, store, clock, work)
            new = await _replay(new_users, work, split.new, "with_bank")
            await new_users.flush()
            strategy = await _strategy(bank, work.protocol, engine)
            left = (await past_users.finish(), await new_users.finish())
            stats, held = engine.stats(), await bank.stats(place.namespace)
            skills = tuple(await bank.skills(place.namespace))
    return WithBank(past, new, stats, left, consolidation, strategy, held, skills)


async def _without_bank(work: Work) -> Replayed:
    async with (
        LoRAPersonalizationEngine(work.config, items=work.pool) as engine,
        keeping(engine, MemoryAdapterStore(), Clock()) as users,
    ):
        return await _replay(users, work, work.protocol.split.new, "without_bank")


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


async def _replay(keeper: Keeper, work: Work, users: IntArray, stage: str) -> Replayed:
    settings, replay = work.settings, Replay(keeper, work.protocol)
    batches = batches_in_time(work.protocol.events, users, settings.batch, settings.seed)
    known = await replay.take_up(batches)
    if known:
        work.watch.on_note(
            f"continuing: {known} of {len(batches)} past users' batches are learned already"
        )
    with work.watch.stage(stage) as tell:
        return await replay.run(batches, tell)


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
