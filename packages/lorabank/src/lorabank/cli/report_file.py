"""The file that a command writes its HTML report to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])


def report_options(default: str) -> Callable[[F], F]:
    """``--out``, with ``default``, and ``--no-report``; passed on as ``out`` and ``no_report``."""
    out = click.option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path(default),
        show_default=True,
        help="Where the HTML report goes.",
    )
    none = click.option("--no-report", is_flag=True, help="Write no HTML report.")
    return lambda command: out(none(command))


def check_writable(out: Path) -> None:
    """Raise BadParameter unless ``out`` can be written; what it holds stays as it is.

    Asked before the work: a run takes minutes.
    """
    if not out.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(out.parent)!r}", param_hint="--out")
    try:
        existed = out.exists()
        out.open("ab").close()
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        message = f"{str(out)!r} can't be written: {reason}"
        raise click.BadParameter(message, param_hint="--out") from exc
    if not existed:
        out.unlink()


def write_report(html: str, out: Path, console: Console) -> None:
    """Write the page and say where it is."""
    out.write_text(html, encoding="utf-8")
    console.print(f"report: {out}", highlight=False, soft_wrap=True)
