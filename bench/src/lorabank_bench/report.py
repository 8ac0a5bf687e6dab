"""The Markdown of a run, put between two markers of a page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lorabank_bench.machine import line
from lorabank_bench.results import Figure, Results

BEGIN = "<!-- lorabank-bench: begin -->"
END = "<!-- lorabank-bench: end -->"


def write_into(page: Path, results: Results) -> None:
    """Exchange what stands between the markers.

    Raises:
        ValueError: the page has no markers.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page} needs the lines {BEGIN} and {END} once each")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{markdown(results)}{END}{after}", encoding="utf-8")


def markdown(results: Results) -> str:
    """Machine, marks, and a table for each section."""
    parts = [f"\nMachine: {line(results.machine)} The run took {results.seconds / 60:.0f} minutes."]
    if results.quick:
        parts.append("**Made with `--quick`**: it shows that everything runs, and no numbers.")
    parts += [f"Left out, not installed: `{name}`" for name in results.absent]
    parts += ["## Marks", _table(("mark", "limit", "this run", ""), _mark_rows(results))]
    for section in dict.fromkeys(figure.section for figure in results.figures):
        figures = [figure for figure in results.figures if figure.section == section]
        header = ("operation", "what", "value", "ratio in the run")
        parts += [f"## {section.capitalize()}", _table(header, map(_cells, figures))]
    return "\n\n".join(parts) + "\n\n"


def _mark_rows(results: Results) -> Iterable[tuple[str, ...]]:
    for mark in results.marks:
        yield mark.what, mark.limit, mark.found, "reached" if mark.reached else "**missed**"


def _cells(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else f"{_number(figure.ratio)} x {figure.reference}"
    return figure.what, figure.subject, f"{_number(figure.value)} {figure.unit}", ratio


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
