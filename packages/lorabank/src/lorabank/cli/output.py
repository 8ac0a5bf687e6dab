"""Where output goes: results to stdout, everything else to stderr."""

from __future__ import annotations

import logging

import click
import structlog
from rich.console import Console
from rich.logging import RichHandler


def errors_console() -> Console:
    """A console on stderr."""
    return Console(stderr=True)


def say_error(message: str) -> None:
    """One line on stderr."""
    click.echo(f"lorabank: {' '.join(message.split())}", err=True)


def configure_logs(console: Console, *, verbose: bool) -> None:
    """Logs to stderr, warnings and worse, or with ``verbose`` everything of lorabank.

    structlog is pointed at the standard library as well: unconfigured, it prints to stdout.
    """
    handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.captureWarnings(True)
    if verbose:
        logging.getLogger("lorabank").setLevel(logging.DEBUG)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.render_to_log_kwargs,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
