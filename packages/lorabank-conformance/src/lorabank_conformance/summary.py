"""The end of a run's output: laws that are broken, known to be broken, or skipped, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from lorabank_conformance.laws import law_of

_ID = "lorabank law"
_PROTECTS = "lorabank law protects"


class Summary:
    """Marks the reports of laws, and tells of them in the terminal."""

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Keep the law with the item, from where it gets into its reports."""
        law = law_of(getattr(item, "function", None))
        if law is not None:
            item.user_properties.append((_ID, law.id))
            item.user_properties.append((_PROTECTS, law.protects.partition("\n")[0]))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the sections that have something in them."""
        stats = terminalreporter.stats
        sections = {
            "laws broken": _lines(stats.get("failed", []), _protects),
            "laws known to be broken": _lines(stats.get("xfailed", []), _known),
            "laws skipped": _lines(stats.get("skipped", []), _skipped),
        }
        for title, lines in sections.items():
            if lines:
                terminalreporter.section(title, sep="-")
                for line in lines:
                    terminalreporter.line(line)


def _lines(
    reports: Iterable[pytest.TestReport], text: Callable[[pytest.TestReport], str]
) -> list[str]:
    """One line for each law of a suite and text, whichever event loop it ran on."""
    laws = (report for report in reports if _ID in dict(report.user_properties))
    return list(dict.fromkeys(f"{_name(report)}: {text(report)}" for report in laws))


def _name(report: pytest.TestReport) -> str:
    suite = report.nodeid.split("::")[-2]
    return f"{suite} {dict(report.user_properties)[_ID]}"


def _protects(report: pytest.TestReport) -> str:
    return str(dict(report.user_properties)[_PROTECTS])


def _known(report: pytest.TestReport) -> str:
    return str(getattr(report, "wasxfail", ""))


def _skipped(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    return str(reason).removeprefix("Skipped: ")
