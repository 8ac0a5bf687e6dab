"""Finding and awaiting processes by pid (Linux)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio


def children(pid: int) -> list[int]:
    """Child processes."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def node_of(database: Path, parent: int | None = None) -> int:
    """The server that runs on this database, started by ``parent`` (this process)."""
    for supervisor in children(os.getpid() if parent is None else parent):
        command = Path(f"/proc/{supervisor}/cmdline").read_bytes().decode().split("\0")
        if str(database) in command:
            (node,) = children(supervisor)
            return node
    raise LookupError(f"no server runs on {database}")


def parent_of(pid: int) -> int:
    """Its parent process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


async def ended(pid: int) -> None:
    """Return when the process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(handle)
    finally:
        os.close(handle)


async def kill(pid: int) -> None:
    """End a process at once, and wait until it has."""
    os.kill(pid, signal.SIGKILL)
    await ended(pid)
