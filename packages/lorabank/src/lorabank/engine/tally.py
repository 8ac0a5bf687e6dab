"""Counts of an engine over all the banks that it was connected to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lorabank.engine.connection import Connection
from lorabank.engine.report import BankState, EngineStats
from lorabank.outbox import DeliveryReport
from lorabank.replay import ExperienceReplay


@dataclass(slots=True)
class Tally:
    """What past connections leave behind, beside the engine's own counts."""

    updates: int = 0
    skills_used: int = 0
    hits: int = 0
    misses: int = 0
    delivered: int = 0
    rejected: int = 0
    dead: int = 0

    def add(self, connection: Connection, report: DeliveryReport) -> None:
        """A connection has ended."""
        self.hits += connection.inquiry.hits
        self.misses += connection.inquiry.misses
        self.delivered += report.delivered
        self.rejected += report.rejected
        self.dead += report.dead

    def stats(
        self, connection: Connection | None, replay: ExperienceReplay, bank: BankState
    ) -> EngineStats:
        """The totals, with the present connection's."""
        now = replace(self)
        waiting = entries = size = 0
        if connection is not None:
            now.add(connection, connection.outbox.report())
            waiting = len(connection.outbox)
            entries, size = len(connection.inquiry.cache), connection.inquiry.cache.size
        return EngineStats(
            updates=now.updates,
            bank=bank,
            cache_hits=now.hits,
            cache_misses=now.misses,
            cache_entries=entries,
            cache_bytes=size,
            delivered=now.delivered,
            waiting=waiting,
            rejected=now.rejected,
            dead=now.dead,
            replay_users=replay.users,
            replay_bytes=replay.size,
            skills_used=now.skills_used,
        )
