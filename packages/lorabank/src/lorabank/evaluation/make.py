"""An evaluation as a whole: data, one run per seed, and the report."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from lorabank.evaluation.methods.registry import METHODS, Method
from lorabank.evaluation.report.assemble import assemble
from lorabank.evaluation.report.results import Report
from lorabank.evaluation.running import run
from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.sources.load import MOST_ROWS, load_dataset
from lorabank.evaluation.sources.repeats import without_repeats
from lorabank.evaluation.sources.table import INSTALL, OnProgress, SourceUnavailableError

NEEDED = ("pyarrow", "scipy", "wordllama", "threadpoolctl")
FOR_REPORT = ("matplotlib", "jinja2")


def check_installed(*, report: bool) -> None:
    """Raises SourceUnavailableError if a package of the extra is missing."""
    names = (*NEEDED, *FOR_REPORT) if report else NEEDED
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SourceUnavailableError(f"{INSTALL} (missing: {', '.join(missing)})")


def evaluate_log(
    interactions: str,
    items: str | None,
    settings: EvaluateSettings,
    seeds: Sequence[int],
    *,
    like: float | None = None,
    most_rows: int = MOST_ROWS,
    command: str = "",
    tell: OnProgress = lambda *_: None,
    methods: Sequence[Method] = METHODS,
) -> Report:
    """Read a log, and compare all methods on it. Blocks for minutes.

    Args:
        interactions, items, like, most_rows: see `lorabank.evaluation.sources.load_dataset`.
        settings: of every seed.
        seeds: at least one.
        command: for the report.
        tell: called with (stage, done, total).
        methods: to compare.

    Raises:
        InvalidInputError: a column is missing, too few users, or a temporal split without a clock.
        SourceUnavailableError: a package of the extra is missing.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # Sums depend on how many threads share them, and matrices here are small.
    with threadpool_limits(limits=1, user_api="blas"):
        dataset = load_dataset(
            interactions, items, like=like, most_rows=most_rows, seed=0, tell=tell
        )
        dataset = without_repeats(dataset)
        runs = []
        for seed in seeds:
            name = "" if len(seeds) == 1 else f"seed {seed}, "

            def named(stage: str, done: int, total: int, name: str = name) -> None:
                tell(name + stage, done, total)

            runs.append(run(dataset, settings, seed, named, methods))
        tell("report", 0, 1)
        report = assemble(dataset, settings, runs, command)
        tell("report", 1, 1)
    return report
