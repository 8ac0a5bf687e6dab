"""Logs go to stderr, whoever writes them, and results alone to stdout."""

from __future__ import annotations

import io
import warnings

import pytest
import structlog
from rich.console import Console

from lorabank.cli.output import configure_logs
from lorabank.cli.progress import ProgressLine
from lorabank.logs import get_logger


@pytest.mark.parametrize("verbose", [False, True])
def test_logs_of_lorabank_and_of_structlog_go_to_the_console(
    capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    stream = io.StringIO()
    configure_logs(Console(file=stream, width=200), verbose=verbose)
    get_logger("lorabank.test").info("a detail", number=3)
    structlog.get_logger("somebody.else").warning("from a plugin")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("watch out", stacklevel=1)
    text = stream.getvalue()
    assert ("a detail number=3" in text) == verbose
    assert "from a plugin" in text
    assert capsys.readouterr().out == ""


def test_without_a_terminal_each_stage_is_one_line() -> None:
    stream = io.StringIO()
    with ProgressLine(Console(file=stream, width=80), runs=2) as progress:
        for stage in ("load", "tune", "replay", "tune"):
            progress.tell(stage, 0, 1)
            progress.tell(stage, 5, 10)
            progress.tell(stage, 10, 10)
            progress.tell(stage, 1, 1)
    lines = stream.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "loading MovieLens",
        "1/2 tuning the baselines on past users",
        "1/2 past users through the engine",
        "2/2 tuning the baselines on past users",
    ]


def test_on_a_terminal_there_is_a_bar_per_stage_within_80_columns() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    with ProgressLine(console, runs=1) as progress:
        progress.tell("consolidate", 0, 1)
        progress.tell("consolidate", 3, 7)
        progress.tell("consolidate", 1, 1)
    assert "consolidating the bank" in stream.getvalue()
    assert "100 %" in stream.getvalue()
