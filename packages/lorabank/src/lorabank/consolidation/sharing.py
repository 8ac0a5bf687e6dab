"""The population's training, run beside the event loop in a thread of its own."""

from __future__ import annotations

import functools

import anyio
import anyio.from_thread

from lorabank.config import EngineConfig
from lorabank.population.fitting import fit_population
from lorabank.population.model import Population
from lorabank.population.recorder import OnPopulationProgress
from lorabank.population.report import PopulationProgress, PopulationReport
from lorabank.population.rows import Rows
from lorabank.turns import in_worker
from lorabank.types.items import ItemPool
from lorabank.types.skill import Skill


class Sharing:
    """Trains populations, one at a time, on a thread that no update waits for."""

    def __init__(self, config: EngineConfig, pool: ItemPool | None) -> None:
        self._config = config
        self._pool = pool
        self._thread = anyio.CapacityLimiter(1)

    async def train(
        self,
        rows: Rows | None,
        skills: tuple[Skill, ...],
        on_progress: OnPopulationProgress | None,
    ) -> tuple[Population, PopulationReport] | None:
        """None if it is off, or there is no pool of items, or no feedback with items.

        The bank's groups beside the one for everyone get adapters of their own. Cancelling it
        takes effect before the next minibatch; ``on_progress`` is called in the event loop.
        """
        config, pool = self._config, self._pool
        if rows is None or pool is None or config.objective != "contrastive":
            return None
        if not config.population.enabled:
            return None
        work = functools.partial(
            fit_population,
            rows,
            pool,
            config.population,
            space=config.space,
            prior=config.prior,
            contrastive=config.contrastive,
            groups={skill.id: skill.user_keys for skill in skills if skill.parent_id is not None},
            seed=config.seed,
            on_progress=_from_thread(on_progress),
            check=anyio.from_thread.check_cancelled,
        )
        return await in_worker(work, limiter=self._thread)


def _from_thread(on_progress: OnPopulationProgress | None) -> OnPopulationProgress | None:
    if on_progress is None:
        return None

    def tell(progress: PopulationProgress) -> None:
        anyio.from_thread.run_sync(on_progress, progress)

    return tell
