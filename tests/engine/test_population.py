"""Consolidation trains what is shared, beside the event loop, and hands it over."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.engine.banks import ScriptedBank
from tests.engine.people import USERS, People

from lorabank import ConsolidationCriteria, ConsolidationReport, user_key
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.config import NeighbourConfig, PopulationConfig, ResidualConfig
from lorabank.population import Population, PopulationProgress

EVERYBODY = ConsolidationCriteria(max_groups=0)
QUICK = PopulationConfig(
    ranks=(2,),
    residuals=ResidualConfig(learning_rates=(0.01,), epochs=1),
    neighbours=NeighbourConfig(decays=(0.7,)),
)


async def consolidated(
    people: People, on_population: Any = None, **changes: Any
) -> ConsolidationReport:
    config = people.config(**({"population": QUICK} | changes))
    async with Engine(config, ScriptedBank(), items=people.items) as engine:
        await people.live(engine)
        return await engine.consolidate_adaptation_patterns(EVERYBODY, on_population=on_population)


async def test_a_population_comes_with_the_report() -> None:
    people, told = People("contrastive"), list[PopulationProgress]()
    report = await consolidated(people, told.append)
    assert report.population is not None
    assert report.population_report is not None
    assert report.population.names[0] == "identity"
    assert report.population_report.users == USERS
    assert user_key("user 0", b"lorabank") in report.population.user_keys
    again = Population.from_bytes(report.population.to_bytes())
    assert again.id == report.population.id
    assert told[-1].done == 1.0
    assert report.skills_with_weights == 1, "the bank's skills are as before"


@pytest.mark.parametrize(
    ("objective", "changes"),
    [("mse", {}), ("contrastive", {"population": PopulationConfig(enabled=False)})],
)
async def test_none_where_there_is_no_pool_or_it_is_off(
    objective: str, changes: dict[str, Any]
) -> None:
    report = await consolidated(People(objective), **changes)
    assert (report.population, report.population_report) == (None, None)


async def test_it_stops_soon_after_it_is_cancelled() -> None:
    people, scope = People("contrastive"), anyio.CancelScope()
    told: list[str] = []

    def stop(progress: PopulationProgress) -> None:
        told.append(progress.stage)
        scope.cancel()

    with scope:
        await consolidated(people, stop)
    assert scope.cancelled_caught
    assert told == ["shared"]


async def test_updates_go_on_while_it_is_trained() -> None:
    """With one worker thread: the training has a thread of its own."""
    people = People("contrastive")
    async with Engine(
        people.config(population=QUICK, worker_threads=1), ScriptedBank(), items=people.items
    ) as engine:
        await people.live(engine, batches=2)
        adapter = await engine.create_adapter("late")
        started = anyio.Event()
        updates = 0

        async def update() -> None:
            nonlocal updates
            await started.wait()
            with anyio.fail_after(60):
                await engine.update_adapter(adapter, people.feedback(1, 9))
            updates += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(update)
            report = await engine.consolidate_adaptation_patterns(
                EVERYBODY, on_population=lambda _: started.set()
            )
        assert updates == 1
        assert report.population is not None


async def test_a_user_forgotten_meanwhile_is_in_none() -> None:
    people = People("contrastive")
    async with Engine(
        people.config(population=QUICK), ScriptedBank(), items=people.items
    ) as engine:
        await people.live(engine)
        async with anyio.create_task_group() as tasks:
            begun = False

            def forget(_: PopulationProgress) -> None:
                nonlocal begun
                if not begun:
                    begun = True
                    tasks.start_soon(engine.forget, "user 3")

            report = await engine.consolidate_adaptation_patterns(EVERYBODY, on_population=forget)
        assert report.population is None
        again = await engine.consolidate_adaptation_patterns(EVERYBODY)
        assert again.population is not None
        assert user_key("user 3", b"lorabank") not in again.population.user_keys
