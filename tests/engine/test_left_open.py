"""An engine that is still open when asyncio's loop shuts down, which cancels every task natively.

`undisturbed` takes a cancellation without a scope for the bank's own. Here it is not, and the loop
waits for every task that it cancelled: it must not wait for ever, and what is lost must be said.
"""

from __future__ import annotations

import asyncio
import logging

import anyio
import numpy as np
import pytest
from tests.engine.banks import DIM, SPACE, ScriptedBank

from lorabank import EngineConfig, Feedback, LoRAPersonalizationEngine

SECONDS = 60


def batch(seed: int) -> Feedback:
    rng = np.random.default_rng(seed)
    return Feedback(rng.standard_normal((3, DIM)), rng.standard_normal((3, DIM)))


@pytest.mark.parametrize("held", ["store_patterns", "learn_strategy", "retrieve_patterns"])
def test_the_loop_ends_and_says_what_is_lost(held: str, caplog) -> None:
    """Whatever the bank is doing when the loop shuts down, and it never answers."""
    engines = []  # so that nothing is collected while the loop runs

    async def leave_open() -> None:
        bank = ScriptedBank()
        bank.script[held] = bank.script["store_patterns"] = anyio.sleep_forever
        engine = LoRAPersonalizationEngine(EngineConfig(SPACE, rank=2), bank)
        engines.append(await engine.__aenter__())
        adapter = await engine.create_adapter("ada")
        for seed in range(2):
            adapter, report = await engine.update_adapter(adapter, batch(seed))
        assert report.episode == "queued"
        await bank.started[held].wait()

    with caplog.at_level(logging.ERROR), asyncio.Runner() as runner:
        runner.run(asyncio.wait_for(leave_open(), SECONDS))
        others = asyncio.all_tasks(runner.get_loop())
        assert others  # the engine's own
        for task in others:  # as the runner's closing does, but without its endless patience
            task.cancel()
        runner.run(asyncio.wait(others, timeout=SECONDS))
        assert all(task.done() for task in others)
    assert "the engine was left open" in caplog.text
