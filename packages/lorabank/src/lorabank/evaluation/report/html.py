"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from importlib import resources

import jinja2

from lorabank.evaluation.bootstrap import Interval
from lorabank.evaluation.report import plots
from lorabank.evaluation.report.results import Report
from lorabank.evaluation.report.words import nats, share

TEMPLATE = "page.html.jinja"


def render(report: Report) -> str:
    """The whole report as HTML."""
    source = resources.files("lorabank.evaluation.report").joinpath(TEMPLATE)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(share=share, nats=nats, points=_points)
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        report=report,
        best=report.method(report.best_bank_free),
        gains=plots.gains(report),
        curve=plots.curves(report),
    )


def _points(interval: Interval) -> str:
    return f"{100 * interval.mean:+.1f} [{100 * interval.lower:+.1f}, {100 * interval.upper:+.1f}]"
