"""``lorabank demo``: the main job on real data."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import anyio
import click
from rich.console import Console

from lorabank.cli.output import configure_logs, errors_console
from lorabank.cli.progress import ProgressLine
from lorabank.cli.report_file import check_writable, report_options, write_report
from lorabank.cli.tables import print_report
from lorabank.demo.make import check_installed, make_report
from lorabank.demo.results import Report, to_json
from lorabank.demo.settings import DemoSettings, quick


@click.command(short_help="Fill a bank with past users; see what new users get of it.")
@click.option("--bank", default="memory://", show_default=True, help="URL of the bank.")
@click.option("--users", type=int, help="Users that take part, 50 or more.  [default: all 671]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs, with this seed and those that follow.",
)
@click.option("--quick", "is_quick", is_flag=True, help="A small run, for a first look.")
@report_options("lorabank-demo.html")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--verbose", is_flag=True, help="Log everything, on stderr.")
def demo(
    bank: str,
    users: int | None,
    seed: int,
    seeds: int,
    is_quick: bool,
    out: Path,
    no_report: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Past users fill a bank; new users start from what it learned. On MovieLens.

    Compares popularity, a tuned frozen blend, and personalisation without and with the bank on
    users that nothing was chosen on.
    """
    console = errors_console()
    configure_logs(console, verbose=verbose)
    settings = DemoSettings(bank=bank, seed=seed, users=users)
    if is_quick:
        settings = quick(settings)
    check_installed()
    if not no_report:
        check_writable(out)
    with ProgressLine(console, seeds) as progress:
        arguments = (settings, range(seed, seed + seeds), _command(), progress.tell, progress.note)
        report = anyio.run(make_report, *arguments)
    _show(report, as_json=as_json)
    if not no_report:
        _write(report, out, console)


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(to_json(report), allow_nan=False))
    else:
        print_report(report, Console())


def _write(report: Report, out: Path, console: Console) -> None:
    from lorabank.demo.html import render  # matplotlib takes a while to import

    write_report(render(report), out, console)


def _command() -> str:
    return shlex.join(["lorabank", *sys.argv[1:]])
