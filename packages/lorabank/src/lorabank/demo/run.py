"""One run of the demo, from a seed to its numbers."""

from __future__ import annotations

import time
from dataclasses import replace

import anyio.to_thread

from lorabank.clock import Clock
from lorabank.demo.assemble import assemble
from lorabank.demo.data import Data
from lorabank.demo.keeping import keeping
from lorabank.demo.place import place_for, run_name
from lorabank.demo.protocol import make_protocol
from lorabank.demo.rate import choose_rate
from lorabank.demo.replay import Replayed
from lorabank.demo.results import Run
from lorabank.demo.scoring import score_all
from lorabank.demo.settings import DemoSettings, engine_config
from lorabank.demo.tuning import tune
from lorabank.demo.with_bank import run_with_bank
from lorabank.demo.work import OnNote, OnProgress, Watch, Work, replay_users
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.stores import MemoryAdapterStore
from lorabank.types.items import ItemPool


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
        with_bank = await run_with_bank(work, place)
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


async def _without_bank(work: Work) -> Replayed:
    async with (
        LoRAPersonalizationEngine(work.config, items=work.pool) as engine,
        keeping(engine, MemoryAdapterStore(), Clock()) as users,
    ):
        return await replay_users(users, work, work.protocol.split.new, "without_bank")
