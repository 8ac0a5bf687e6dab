"""What every part of a run needs, and users' batches through an engine as a stage of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lorabank.config import EngineConfig
from lorabank.demo.keeping import Keeper
from lorabank.demo.protocol import Protocol, batches_in_time
from lorabank.demo.replay import Replay, Replayed
from lorabank.demo.settings import DemoSettings
from lorabank.types.arrays import IntArray
from lorabank.types.items import ItemPool

OnProgress = Callable[[str, int, int], None]
OnNote = Callable[[str], None]


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


@dataclass(frozen=True, slots=True)
class Work:
    """What every part of a run needs."""

    protocol: Protocol
    settings: DemoSettings
    config: EngineConfig
    pool: ItemPool
    watch: Watch


async def replay_users(keeper: Keeper, work: Work, users: IntArray, stage: str) -> Replayed:
    """The users' batches, in time order, through the keeper's engine, but for those it knows."""
    settings, replay = work.settings, Replay(keeper, work.protocol)
    batches = batches_in_time(work.protocol.events, users, settings.batch, settings.seed)
    known = await replay.take_up(batches)
    if known:
        work.watch.on_note(
            f"continuing: {known} of {len(batches)} past users' batches are learned already"
        )
    with work.watch.stage(stage) as tell:
        return await replay.run(batches, tell)
