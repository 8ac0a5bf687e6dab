"""One run of the demo, from a seed to its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import anyio.to_thread

from lorabank.bank import open_bank
from lorabank.clock import Clock
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.demo.assemble import WithBank, assemble
from lorabank.demo.clock import ticking
from lorabank.demo.data import Data
from lorabank.demo.protocol import Protocol, batches_in_time, make_protocol
from lorabank.demo.rate import choose_rate
from lorabank.demo.replay import Replay, Replayed
from lorabank.demo.results import Run
from lorabank.demo.scoring import score_all
from lorabank.demo.settings import DemoSettings, engine_config
from lorabank.demo.tuning import Tuned, tune
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.protocols import ReasoningBank
from lorabank.types.arrays import IntArray
from lorabank.types.identifiers import new_id
from lorabank.types.items import ItemPool
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import ConsolidationCriteria
from lorabank.types.strategy import Strategy

OnProgress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Watch:
    """Seconds per stage, told to whoever watches: ``(stage, done, total)``."""

    on_progress: OnProgress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Times a stage; yields a callback for (done, total)."""
        started = time.perf_counter()
        self.on_progress(name, 0, 1)
        yield lambda done, total: self.on_progress(name, done, total)
        self.seconds[name] = time.perf_counter() - started
        self.on_progress(name, 1, 1)


async def run(data: Data, settings: DemoSettings, on_progress: OnProgress) -> Run:
    """Tune on past users, fill the bank with them, consolidate, and let the new users come.

    Raises:
        BankError: the bank can't be opened, or fails at consolidation.
        InvalidInputError: settings that do not fit the data.
    """
    watch = Watch(on_progress)
    with watch.stage("tune"):
        protocol = await anyio.to_thread.run_sync(make_protocol, data, settings)
        tuned = await anyio.to_thread.run_sync(tune, protocol, settings)
        config = engine_config(settings, data.space, tuned.identity, "tuning")
        rate = await anyio.to_thread.run_sync(choose_rate, protocol, settings, config)
        settings = replace(settings, online=replace(settings.online, learning_rate=rate))
    pool = ItemPool(data.vectors, protocol.popularity, sampling_power=1.0)
    with_bank = await _with_bank(data, protocol, settings, tuned, pool, watch)
    without = await _without_bank(data, protocol, settings, tuned, pool, watch)
    served = {
        "without_bank": without.served,
        "bank_start": with_bank.new.start,
        "with_bank": with_bank.new.served,
    }
    with watch.stage("score"):
        scores = await anyio.to_thread.run_sync(score_all, protocol, tuned, pool.log_prior, served)
    return assemble(protocol, settings, tuned, scores, with_bank, without, watch.seconds)


async def _with_bank(
    data: Data,
    protocol: Protocol,
    settings: DemoSettings,
    tuned: Tuned,
    pool: ItemPool,
    watch: Watch,
) -> WithBank:
    wall = ticking()
    # A namespace of its own: whatever a lasting bank holds already is another run's.
    namespace = f"demo-{settings.seed}-{new_id(wall())}"
    config = engine_config(settings, data.space, tuned.identity, namespace)
    async with open_bank(settings.bank, space=data.space, clock=wall) as bank:
        async with LoRAPersonalizationEngine(
            config, bank, items=pool, clock=Clock(wall=wall)
        ) as engine:
            past = await _replay(engine, protocol, protocol.split.past, settings, "replay", watch)
            consolidation = await _consolidate(engine, settings, watch)
            new = await _replay(engine, protocol, protocol.split.new, settings, "with_bank", watch)
            strategy = await _strategy(bank, protocol, engine)
            delivery = await engine.disconnect_reasoning_bank()
            stats = engine.stats()
        held = await bank.stats(namespace)
        skills = tuple(await bank.skills(namespace))
    return WithBank(past, new, stats, delivery, consolidation, strategy, held, skills)


async def _without_bank(
    data: Data,
    protocol: Protocol,
    settings: DemoSettings,
    tuned: Tuned,
    pool: ItemPool,
    watch: Watch,
) -> Replayed:
    config = engine_config(settings, data.space, tuned.identity, "none")
    async with LoRAPersonalizationEngine(config, items=pool) as engine:
        return await _replay(engine, protocol, protocol.split.new, settings, "without_bank", watch)


async def _replay(
    engine: LoRAPersonalizationEngine,
    protocol: Protocol,
    users: IntArray,
    settings: DemoSettings,
    stage: str,
    watch: Watch,
) -> Replayed:
    batches = batches_in_time(protocol.events, users, settings.batch, settings.seed)
    with watch.stage(stage) as tell:
        return await Replay(engine, protocol).run(batches, tell)


async def _consolidate(
    engine: LoRAPersonalizationEngine, settings: DemoSettings, watch: Watch
) -> ConsolidationReport:
    with watch.stage("consolidate") as tell:

        def on_epoch(progress: Progress) -> None:
            tell(progress.epoch, progress.epochs + 1)

        criteria = ConsolidationCriteria(max_groups=settings.groups)
        await engine.flush()
        return await engine.consolidate_adaptation_patterns(criteria, on_progress=on_epoch)


async def _strategy(
    bank: ReasoningBank, protocol: Protocol, engine: LoRAPersonalizationEngine
) -> Strategy:
    """What the bank advises for the average context of all."""
    await engine.flush()
    query = Query(
        namespace=engine.config.namespace,
        context=protocol.events.x.mean(axis=0),
        where=PatternFilter(objective=engine.config.objective),
        defaults=engine.config.defaults,
    )
    return await bank.learn_strategy(query)
