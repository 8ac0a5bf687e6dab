"""Consolidation over the store's replay: skills for the bank, a population for the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import anyio

from lorabank.clock import Clock
from lorabank.consolidation import ConsolidationReport, Progress
from lorabank.engine import LoRAPersonalizationEngine
from lorabank.personalizer.populations import Populations
from lorabank.population.recorder import OnPopulationProgress
from lorabank.stores import AdapterStore
from lorabank.types.feedback import Feedback
from lorabank.types.skill import ConsolidationCriteria


class Consolidator:
    """Consolidates when it is told to, and knows whether it has been asked. One at a time.

    Args:
        engine: does the work.
        store: holds the replay, and what is owed to the bank.
        populations: keeps the population that is made.
        clock: tells how old the replay may be.
    """

    def __init__(
        self,
        engine: LoRAPersonalizationEngine,
        store: AdapterStore,
        populations: Populations,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._store = store
        self._populations = populations
        self._clock = clock
        self._turn = anyio.Lock()
        self._asked = anyio.Event()
        self._criteria: ConsolidationCriteria | None = None

    def ask(self) -> None:
        """What was learned from many has lost one of them: somebody consolidate soon."""
        self._asked.set()

    async def asked(self) -> None:
        """Wait until it is asked for; what is asked from now on is another time."""
        await self._asked.wait()
        self._asked = anyio.Event()

    async def consolidate(
        self,
        criteria: ConsolidationCriteria | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_population: OnPopulationProgress | None = None,
    ) -> ConsolidationReport:
        """See `Personalizer.consolidate`."""
        read: list[tuple[float, bool]] = []

        async def experiences() -> Mapping[str, Sequence[Feedback]]:
            now = self._clock.wall()
            found = await self._store.experiences(now)
            batches = chain.from_iterable(found.values())
            read.append((now, any(feedback.items is not None for feedback in batches)))
            return found

        async with self._turn:
            self._criteria = criteria or self._criteria
            owed = await self._store.duties("rebuild", self._clock.wall())
            report = await self._engine.consolidate_adaptation_patterns(
                self._criteria,
                experiences=experiences,
                on_progress=on_progress,
                on_population=on_population,
            )
            if report.population is not None:
                if await self._populations.keep(report.population, read[-1][0]):
                    self.ask()
            elif self._engine.trains_populations and not read[-1][1]:
                await self._populations.drop_if_stale()
            for duty in owed:
                await self._store.discharge(duty)
            return report
