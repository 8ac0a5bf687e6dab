"""What a run found."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        section: table that it belongs to.
        what: the operation, with its shape: a row of the table.
        subject: whose it is, or what of it: a column.
        value, unit: the number.
        ratio: times the reference of the same run, or None.
        reference: what that is.
        note: what to know about it.
        detail: only for the JSON.
    """

    section: str
    what: str
    subject: str
    value: float
    unit: str
    ratio: float | None = None
    reference: str = ""
    note: str = ""
    detail: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A goal, and whether this run reached it.

    Attributes:
        bound: what bounds it where it is missed, for the page.
    """

    what: str
    limit: str
    found: str
    reached: bool
    bound: str = ""


@dataclass(slots=True)
class Results:
    """All of a run."""

    machine: dict[str, Any]
    quick: bool
    figures: list[Figure] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, figure: Figure) -> None:
        """Keep a figure, and show it as progress."""
        self.figures.append(figure)
        ratio = "" if figure.ratio is None else f"  ({figure.ratio:.2f} x {figure.reference})"
        say(f"  {figure.what}: {figure.subject} {figure.value:.4g} {figure.unit}{ratio}")

    def mark(self, what: str, limit: str, found: str, reached: bool, bound: str = "") -> None:
        """Keep a mark, and show it."""
        self.marks.append(Mark(what, limit, found, bool(reached), bound))
        say(f"  {'reached' if reached else 'MISSED'}: {what}: {found} (mark {limit})")

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        plain = asdict(self)
        for figure in plain["figures"]:  # numpy's floats are no JSON
            figure["value"] = float(figure["value"])
            figure["ratio"] = None if figure["ratio"] is None else float(figure["ratio"])
        return plain


def say(text: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
