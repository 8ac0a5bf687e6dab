"""A progress bar on stderr; where stderr is no terminal, a line per stage."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

TEXTS = {
    "load": "loading MovieLens",
    "tune": "tuning the baselines on past users",
    "replay": "past users through the engine",
    "consolidate": "consolidating the bank",
    "with_bank": "new users, with the bank",
    "without_bank": "new users, without the bank",
    "read": "reading the log",
    "methods": "fitting and measuring methods",
    "train": "training what users share",
    "report": "intervals and report",
    "score": "scoring every prediction",
}


class ProgressLine:
    """One bar per stage. Give `tell` as the callback."""

    def __init__(self, console: Console, runs: int) -> None:
        self._console = console
        self._runs = runs
        self._run = 0
        self._started: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bar = Progress(
            TextColumn("{task.description:<36}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def tell(self, stage: str, done: int, total: int) -> None:
        """A stage is at ``done`` of ``total``; 0 starts it anew."""
        if done == 0:
            self._begin(stage)
        self._bar.update(self._tasks[stage], completed=done, total=total)
        if done == total and stage in self._started and not self._console.is_terminal:
            seconds = time.monotonic() - self._started.pop(stage)  # its last step may be told twice
            self._console.print(f"{self._text(stage)}: {seconds:.1f} s", highlight=False)

    def note(self, line: str) -> None:
        """Show a line of its own."""
        self._console.print(line, highlight=False)

    def _begin(self, stage: str) -> None:
        if stage == "tune":
            self._run += 1
        self._started[stage] = time.monotonic()
        self._tasks[stage] = self._bar.add_task(self._text(stage), total=1)

    def _text(self, stage: str) -> str:
        prefix, comma, key = stage.rpartition(", ")  # "seed 3, methods"
        text = prefix + comma + TEXTS.get(key, key)
        return text if self._runs == 1 or not self._run else f"{self._run}/{self._runs} {text}"
