"""Commands: ``lorabank demo``, ``lorabank evaluate``, ``lorabank plugins``, ``--version``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click

from lorabank import __version__
from lorabank.cli.demo import demo
from lorabank.cli.evaluate import evaluate
from lorabank.cli.output import say_error
from lorabank.cli.plugins import plugins
from lorabank.errors import LorabankError

FAILED = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lorabank")
def lorabank() -> None:
    """Per-user LoRA adapters, and a bank that passes on what helped.

    To begin with: lorabank demo --quick
    """


lorabank.add_command(demo)
lorabank.add_command(evaluate)
lorabank.add_command(plugins)


def run(arguments: Sequence[str]) -> int:
    """The exit code: 0, or 2 for whatever the user can put right."""
    try:
        lorabank.main(list(arguments), standalone_mode=False)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except click.Abort:
        say_error("interrupted")
        return 130
    except (LorabankError, OSError) as exc:
        say_error(str(exc))
        return FAILED
    except ExceptionGroup as group:
        error = _only(group)
        if error is None:
            raise
        say_error(str(error))
        return FAILED
    return 0


def _only(group: ExceptionGroup[Exception]) -> Exception | None:
    """The one error that a group of a task group wraps, if it is of a kind that is explained."""
    with contextlib.suppress(ValueError):
        (inner,) = group.exceptions
        if isinstance(inner, ExceptionGroup):
            return _only(inner)
        if isinstance(inner, LorabankError | OSError):
            return inner
    return None
