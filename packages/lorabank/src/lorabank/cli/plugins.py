"""``lorabank plugins``: the backends that are installed, and those that could be."""

from __future__ import annotations

import dataclasses
import json

import click
from rich.console import Console
from rich.table import Table

from lorabank.bank import list_backends


@click.command(short_help="List the banks' backends, and what to install.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array on stdout.")
def plugins(as_json: bool) -> None:
    """List the banks' backends: installed ones, and what to install for the others."""
    backends = list_backends()
    if as_json:
        click.echo(
            json.dumps([{**dataclasses.asdict(b), "installed": b.installed} for b in backends])
        )
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("URL", no_wrap=True)
    table.add_column("what it is")
    table.add_column("state", no_wrap=True)
    for backend in backends:
        if backend.installed:
            state = f"[green]installed[/], {backend.version}"
        else:
            state = f"pip install {backend.distribution}"
        table.add_row(f"{backend.scheme}://", backend.description, state)
    Console().print(table)
