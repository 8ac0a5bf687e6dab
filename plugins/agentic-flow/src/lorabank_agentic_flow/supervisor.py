"""Runs the server as a child and turns the end of our standard input into its SIGTERM.

agentdb's server does not stop when its input ends, so a client that was killed would leave it
behind. This little process stands between: it passes input on, and when that ends, for whatever
reason, it stops the server and waits until it has saved. The server writes to the client's pipes
itself. Standard library only: it is started by path, in isolated mode.

Usage: supervisor.py DATABASE JOURNAL COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_SAVE_TIME = 25.0  # seconds that the server may take to save before it is killed
_LOCK_TIME = 10.0  # seconds that an earlier owner may take to let go
_BUSY = 75  # EX_TEMPFAIL
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the server until our input ends or it exits; its exit code."""
    database, journal, command = Path(arguments[0]), Path(arguments[1]), arguments[2:]
    lock = own(database)
    if lock is None:
        sys.stderr.write(f"another process runs a server on {database}\n")
        return _BUSY
    drop_stale_lock(database)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs yet
    )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    threading.Thread(target=_pass_on, args=(child, stopping), daemon=True).start()
    while child.poll() is None and not stopping.wait(0.05):
        pass
    code = stop(child)
    drop_saved_journal(journal, database)
    lock.close()
    return code


def own(database: Path) -> _Lock | None:
    """The right to run a server on this database, or None if another process has it.

    Two servers on one file lose each other's writes.
    """
    lock = _Lock(database)
    deadline = time.monotonic() + _LOCK_TIME
    while not lock.taken():
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)
    return lock


class _Lock:
    def __init__(self, database: Path) -> None:
        self._fd = os.open(f"{database}.lorabank-owner", os.O_RDWR | os.O_CREAT, 0o600)

    def taken(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._fd)


def drop_stale_lock(database: Path) -> None:
    """Remove the lock of a server that was killed while it saved: none could save again."""
    path = Path(f"{database}.agentdb.lock")
    with contextlib.suppress(FileNotFoundError, ValueError):
        owner = int(path.read_text().strip() or "0")
        if owner <= 0 or not _alive(owner):
            path.unlink()


def drop_saved_journal(journal: Path, database: Path) -> None:
    """Remove the client's journal if the server has saved since it was last written."""
    with contextlib.suppress(FileNotFoundError):
        if journal.stat().st_mtime_ns < database.stat().st_mtime_ns:
            journal.unlink()


def stop(child: subprocess.Popen[bytes]) -> int:
    """SIGTERM makes the server save; SIGKILL only if it takes too long."""
    if child.poll() is None:
        child.terminate()
        try:
            return child.wait(_SAVE_TIME)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _die_with_parent() -> None:
    # Linux only: if even this process is killed, the kernel sends the server SIGTERM.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _pass_on(child: subprocess.Popen[bytes], stopping: threading.Event) -> None:
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        while data := os.read(0, 1 << 16):
            child.stdin.write(data)
            child.stdin.flush()
    stopping.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
