"""``lorabank evaluate``: what a bank is worth on anyone's own log."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console

from lorabank.cli.evaluate_tables import print_evaluation
from lorabank.cli.output import configure_logs, errors_console
from lorabank.cli.progress import ProgressLine
from lorabank.cli.report_file import check_writable, report_options, write_report
from lorabank.evaluation.make import check_installed, evaluate_log
from lorabank.evaluation.report.results import Report, to_json
from lorabank.evaluation.settings import ORDERS, SPLITS, EvaluateSettings, quick
from lorabank.evaluation.sources.load import MOST_ROWS


@click.command(short_help="What a bank is worth on a log of your own.")
@click.argument("interactions")
@click.argument("items", required=False)
@click.option("--like", type=float, help="Rows rated this or better are likes.  [default: all]")
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="users",
    show_default=True,
    help="What is kept apart to be predicted: users, or what came last.",
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default="time",
    show_default=True,
    help="Likes as they came, or shuffled within a sitting.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of everything random.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs, with this seed and those that follow.",
)
@click.option("--quick", "is_quick", is_flag=True, help="A small run, for a first look.")
@click.option(
    "--max-rows",
    type=click.IntRange(1000),
    default=MOST_ROWS,
    show_default=True,
    help="Rows that are held; of a longer log, users are sampled.",
)
@report_options("lorabank-evaluation.html")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def evaluate(
    interactions: str,
    items: str | None,
    like: float | None,
    split: str,
    order: str,
    seed: int,
    seeds: int,
    is_quick: bool,
    max_rows: int,
    out: Path,
    no_report: bool,
    as_json: bool,
) -> None:
    """Compare every way of ranking, with a bank and without, on a log of your own.

    INTERACTIONS: CSV with user_id, item_id, timestamp or pos, and maybe rating. ITEMS: CSV with
    item_id and columns of text, or .npz or parquet with item_id and vectors. Instead of both: the
    name "movielens" or "groceries".
    """
    console = errors_console()
    configure_logs(console, verbose=False)
    settings = EvaluateSettings(split=split, order=order)
    if is_quick:
        settings = quick(settings)
    check_installed(report=not no_report)
    if not no_report:
        check_writable(out)
    with ProgressLine(console, 1) as progress:
        report = evaluate_log(
            interactions,
            items,
            settings,
            range(seed, seed + seeds),
            like=like,
            most_rows=max_rows,
            command=shlex.join(["lorabank", *sys.argv[1:]]),
            tell=progress.tell,
        )
    _show(report, as_json=as_json)
    if not no_report:
        _write(report, out, console)


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(to_json(report), allow_nan=False))
    else:
        print_evaluation(report, Console())


def _write(report: Report, out: Path, console: Console) -> None:
    from lorabank.evaluation.report.html import render  # matplotlib takes a while to import

    write_report(render(report), out, console)
