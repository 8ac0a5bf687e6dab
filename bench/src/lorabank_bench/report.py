"""The Markdown of a run, put between two markers of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lorabank_bench.machine import line
from lorabank_bench.results import Figure, Mark, Results

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
    """Marks, machine, and a table for each section: a row for each operation."""
    parts = ["\n## Marks"]
    if results.quick:
        parts.append("**Made with `--quick`**: it shows that everything runs, and no numbers.")
    header = ("mark", "limit", "this run", "reached, or what bounds it")
    parts.append(_table(header, map(_mark_row, results.marks)))
    parts.append(f"{line(results.machine)} The run took {results.seconds / 60:.0f} minutes.")
    parts += [f"Left out, not installed: `{name}`" for name in results.absent]
    parts.append("## Tables")
    shown = [figure for figure in results.figures if not figure.detail]
    for section in dict.fromkeys(figure.section for figure in shown):
        parts += _section(section, [figure for figure in shown if figure.section == section])
    return "\n\n".join(parts) + "\n\n"


def _mark_row(mark: Mark) -> tuple[str, ...]:
    missed = f"**missed**: {mark.bound}" if mark.bound else "**missed**"
    return mark.what, mark.limit, mark.found, "reached" if mark.reached else missed


def _section(name: str, figures: Sequence[Figure]) -> Iterable[str]:
    """Heading, what the ratios relate to if that is one thing, and the table."""
    references = {figure.reference for figure in figures if figure.ratio is not None}
    several = len(references) > 1
    yield f"### {name[:1].upper()}{name[1:]}"
    if references and not several:
        yield f"In brackets: times {references.pop()}, in the same run."
    rows = list(dict.fromkeys(figure.what for figure in figures))
    columns = list(dict.fromkeys(figure.subject for figure in figures))
    cells = {(figure.what, figure.subject): _cell(figure, named=several) for figure in figures}
    table = ((row, *(cells.get((row, column), "") for column in columns)) for row in rows)
    yield _table(("", *columns), table)


def _cell(figure: Figure, *, named: bool) -> str:
    value = f"{_number(figure.value)} {figure.unit}".strip()
    if figure.ratio is None:
        return value
    reference = f" {figure.reference}" if named else ""
    return f"{value} ({_number(figure.ratio)} x{reference})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
