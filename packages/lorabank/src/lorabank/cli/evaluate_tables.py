"""An evaluation as tables that fit a terminal of 80 columns."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabank.evaluation.report.results import Mark, Report, Summary
from lorabank.evaluation.report.words import nats, share


def print_evaluation(report: Report, console: Console) -> None:
    """Ranking, likelihood and cost of every method, the marks, and what they mean."""
    console.print(_setup(report), highlight=False)
    console.print(_ranking(report))
    console.print(_learning(report))
    if report.marks:
        console.print(_marks(report))
    for finding in report.findings:
        console.print(Text(f"- {finding}"), highlight=False)


def _setup(report: Report) -> Text:
    data, seed = report.data, report.seeds[0]
    split, order = report.settings["split"], report.settings["order"]
    lines = [
        f"{data.name}: {data.used_rows:,} of {data.rows:,} rows, {data.users:,} users, "
        f"{data.items:,} items, {data.likes:,} likes",
        f"split by {split}, order: {order}; fitted on {seed.users_fit} users, chosen on "
        f"{seed.users_choose}, compared on {seed.users_new} ({seed.events_new:,} events)"
        + (f", {len(report.seeds)} seeds" if len(report.seeds) > 1 else f", seed {seed.seed}"),
    ]
    return Text("\n".join(["", *lines]))


def _ranking(report: Report) -> Table:
    table = _table(
        "\nRanking and likelihood",
        "[ ]: 95 % interval, users drawn with all they have. NLL: lower is better.",
    )
    table.add_column("method", no_wrap=True)
    for title in ("nDCG@10", "vs blend, %", "HR@10", "NLL", "vs blend"):
        table.add_column(title, justify="right", no_wrap=True)
    for m in report.methods:
        table.add_row(
            m.name,
            f"{m.ndcg.mean:.4f}",
            _narrow("" if m.key == "blend" else share(m.ndcg_vs_blend)),
            f"{m.hit_rate.mean:.3f}",
            f"{m.nll.mean:.3f}",
            _narrow("" if m.key == "likely_blend" else nats(m.nll_vs_blend, 2)),
            style="bold" if m.key == "everything" else None,
        )
    return table


def _learning(report: Report) -> Table:
    best = report.method(report.best_bank_free)
    assert best is not None
    curve = report.curve
    table = _table(
        f"\nLearning, harm and cost ({curve.users} users, first {curve.horizon} events)",
        f"area: mean NLL of the first {curve.horizon} events against {best.name.strip()},\n"
        "the most likely method without a bank on past users. target: events until\n"
        f"the gain on popularity is what that method reaches by event {curve.horizon}. harmed: %\n"
        "of users beyond the 5 % of chance, by NLL and nDCG. ms: per event.",
    )
    table.add_column("method", no_wrap=True)
    for title in ("area", "target", "harmed", "fit s", "ms", "bytes"):
        table.add_column(title, justify="right", no_wrap=True)
    for m in report.methods:
        table.add_row(m.name, *_cells(m), style="bold" if m.key == "everything" else None)
    return table


def _cells(m: Summary) -> tuple[str | Text, ...]:
    target = m.target_adjusted
    return (
        Text(nats(m.area_vs_bank_free, 2)),
        f"{target.events.mean:.0f}" if target.reached else "never",
        f"{100 * m.harm_nll.excess.mean:+.0f} {100 * m.harm_ndcg.excess.mean:+.0f}",
        f"{m.fit_seconds:.1f}",
        f"{m.milliseconds_per_event:.2f}",
        _bytes(m.bytes_per_user),
    )


def _marks(report: Report) -> Table:
    """What was wanted above what was found: side by side, both would be broken into words."""
    table = _table("\nMarks", None)
    table.add_column("mark")
    table.add_column("", no_wrap=True)
    for mark in report.marks:
        lines = (mark.name, f"  wanted: {mark.wanted}", f"  found:  {mark.found}")
        table.add_row(Text("\n".join(lines)), _verdict(mark))
    return table


def _verdict(mark: Mark) -> str:
    if mark.reached is None:
        return "no answer"
    return "[green]reached[/]" if mark.reached else "[bold red]NOT reached[/]"


def _narrow(text: str) -> Text:
    return Text(text.replace(", ", ",").replace(" %", ""))


def _bytes(count: float) -> str:
    return f"{count:.0f}" if count < 1024 else f"{count / 1024:.0f} Ki"


def _table(title: str, caption: str | None) -> Table:
    return Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
