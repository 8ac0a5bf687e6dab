"""Results as tables that fit a terminal of 80 columns."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorabank.demo.findings import findings
from lorabank.demo.results import Report, Run, Times
from lorabank.evaluation.report.words import share


def print_report(report: Report, console: Console) -> None:
    """The comparison, the engine's numbers, and what they mean."""
    run = report.runs[0]
    console.print(_methods(run))
    if len(report.runs) > 1:
        console.print(_seeds(report))
    console.print(_engine(run))
    for finding in findings(report.runs):
        console.print(Text(f"- {finding}"), highlight=False)


def _methods(run: Run) -> Table:
    setup = run.setup
    table = Table(
        title=f"\n{setup.users_new} new users, {setup.events_new:,} predictions, seed {setup.seed}",
        caption="[ ]: 95 % interval, paired over users. NLL: lower is better.",
        title_justify="left",
        caption_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("method", no_wrap=True)
    for title in ("nDCG@10", "against blend", "HR@10", "NLL"):
        table.add_column(title, justify="right", no_wrap=True)
    for m in run.methods:
        style = "bold" if m.key == "with_bank" else None
        gain = "" if m.key == "blend" else share(m.ndcg_vs_blend)
        cells = (f"{m.ndcg:.4f}", Text(gain), f"{m.hit_rate:.4f}", f"{m.nll:.3f}")
        table.add_row(m.name, *cells, style=style)
    return table


def _seeds(report: Report) -> Table:
    table = Table(
        title="\nAll seeds: nDCG@10", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    for title in ("seed", "blend", "no bank", "with bank", "against blend", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in report.runs:
        mine = run.method("with_bank")
        table.add_row(
            str(run.setup.seed),
            f"{run.method('blend').ndcg:.4f}",
            f"{run.method('without_bank').ndcg:.4f}",
            f"{mine.ndcg:.4f}",
            Text(share(mine.ndcg_vs_blend)),
            f"{run.seconds['total']:.0f}",
        )
    means = {mean.key: mean for mean in report.mean}
    table.add_row(
        "mean",
        f"{means['blend'].ndcg:.4f}",
        f"{means['without_bank'].ndcg:.4f}",
        f"{means['with_bank'].ndcg:.4f}",
        f"{100 * means['with_bank'].ndcg_vs_blend:+.0f} %",
        "",
        style="bold",
    )
    return table


def _engine(run: Run) -> Table:
    table = Table(title="\nEngine and bank", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.show_header = False
    updates, episodes, skills = run.updates, run.episodes, run.skills
    rows = {
        "updates": f"{updates.past} past, {updates.new} new; {updates.hinted} with hints",
        "cache hit rate": f"{100 * updates.cache_hit_rate:.1f} %",
        "update, cache miss": _times(updates.cold_ms),
        "update, cache hit": _times(updates.warm_ms),
        "update, no bank": _times(updates.without_bank_ms),
        "patterns": f"{episodes.held} held, of {episodes.made} episodes",
        "episodes not held": (
            f"{episodes.dead} dead, {episodes.undelivered} undelivered, {episodes.lost} lost"
        ),
        "skills": f"{skills.stored}, {skills.with_weights} of them with weights",
        "seconds": f"{run.seconds['total']:.1f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    table.add_row("")
    return table


def _times(times: Times) -> str:
    return f"{times.median:.1f} ms median, {times.p95:.1f} ms p95"
