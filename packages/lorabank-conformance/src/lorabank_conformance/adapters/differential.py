"""The law of random histories: the store does what the memory store does."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, cast

from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lorabank_conformance.adapters.base import AdapterOpener, AdapterSuite
from lorabank_conformance.adapters.machine import REPLAY, History, Session
from lorabank_conformance.laws import Opener, sync_law


class DifferentialLaws(AdapterSuite):
    """Random histories.

    Attributes:
        histories: how many are tried; take fewer for a slow store.
        steps: operations of a history, at most.
    """

    histories: ClassVar[int] = 60
    steps: ClassVar[int] = 25

    @sync_law
    def test_history_as_in_memory(self, opener: Opener, async_library: str) -> None:
        """Protects against what nobody thought of: random histories end as in the memory store.

        The same histories in every run; a failing one is shown as the shortest that fails.
        """
        reopen = cast("AdapterOpener", opener)
        with (
            start_blocking_portal(async_library) as portal,
            Session(portal, lambda: reopen(REPLAY), self.patience) as session,
        ):
            machine = cast("Any", partial(History, session, self.build, durable=self.durable))
            run_state_machine_as_test(machine, settings=self._settings())

    def _settings(self) -> settings:
        return settings(
            max_examples=self.histories,
            stateful_step_count=self.steps,
            phases=(Phase.generate, Phase.shrink),
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
