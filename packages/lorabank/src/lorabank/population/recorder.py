"""What one run chose, how well it did, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lorabank.population.report import PopulationProgress

OnPopulationProgress = Callable[[PopulationProgress], None]
# Share of the work that is done when a stage begins, roughly; by far the most is arithmetic.
BEGINS = {
    "shared": 0.0,
    "residuals": 0.35,
    "neighbours": 0.6,
    "transitions": 0.65,
    "groups": 0.7,
    "experts": 0.75,
    "refit": 0.8,
    "done": 1.0,
}
STAGES = tuple(BEGINS)


class Recorder:
    """Collects choices, losses and seconds by name, and passes progress on."""

    def __init__(self, on_progress: OnPopulationProgress | None) -> None:
        self._on_progress = on_progress
        self.choices: dict[str, float] = {}
        self.losses: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage and tells when it begins and ends."""
        started = time.perf_counter()
        self.tell(name, "begins", 0.0)
        yield
        self.seconds[name] = time.perf_counter() - started
        self.tell(name, "done", 1.0)

    def tell(self, stage: str, detail: str, share: float, loss: float | None = None) -> None:
        """Progress within a stage; ``share`` of it is done, in [0, 1]."""
        if self._on_progress is not None:
            start, end = BEGINS[stage], BEGINS[STAGES[STAGES.index(stage) + 1]]
            done = start + (end - start) * share
            self._on_progress(PopulationProgress(stage, detail, done, loss))
