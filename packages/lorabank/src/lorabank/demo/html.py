"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from importlib import resources

import jinja2

from lorabank.demo import plots
from lorabank.demo.findings import MARK, findings
from lorabank.demo.results import Report
from lorabank.evaluation.report.words import nats, percent, share

TEMPLATE = "report.html.jinja"


def render(report: Report) -> str:
    """The whole report as HTML; plots and details are those of the first run."""
    source = resources.files("lorabank.demo").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, share=share, nats=nats)
    run = report.runs[0]
    return environment.from_string(source).render(
        report=report,
        run=run,
        mark=MARK,
        findings=findings(report.runs),
        gains=plots.gains(run),
        curve=plots.learning_curve(run) if run.learning_curve else "",
        arms=plots.arms(run) if run.arms else "",
        changes=plots.changes(run),
    )
