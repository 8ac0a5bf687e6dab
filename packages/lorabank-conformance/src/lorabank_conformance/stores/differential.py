"""The law of random histories: the store does what the memory backend does."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lorabank_conformance.laws import Opener, sync_law
from lorabank_conformance.stores.machine import History
from lorabank_conformance.stores.session import Session
from lorabank_conformance.suite import Suite


class DifferentialLaws(Suite):
    """Random histories.

    Attributes:
        histories: how many are tried; take fewer for a slow backend.
        steps: operations of a history, at most.
        shrinks: whether a failing history is shortened, which takes a while.
    """

    histories: ClassVar[int] = 30
    steps: ClassVar[int] = 25
    shrinks: ClassVar[bool] = True

    @sync_law
    def test_history_as_in_memory(self, opener: Opener, async_library: str) -> None:
        """Protects against what nobody thought of: random histories end as in the memory backend.

        The same histories in every run; a failing one is shown as the shortest that fails.
        """
        with (
            start_blocking_portal(async_library) as portal,
            Session(portal, opener, self.space, self.patience) as session,
        ):
            machine: Any = partial(History, session)
            run_state_machine_as_test(machine, settings=self._settings())

    def _settings(self) -> settings:
        phases = (Phase.generate, Phase.shrink) if self.shrinks else (Phase.generate,)
        return settings(
            max_examples=self.histories,
            stateful_step_count=self.steps,
            phases=phases,
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
