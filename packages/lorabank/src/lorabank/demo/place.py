"""Where a run is kept until it is done: in the bank's directory, if its URL names one."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from lorabank.config import EngineConfig
from lorabank.demo.data import Data
from lorabank.demo.settings import DemoSettings
from lorabank.errors import StoreError
from lorabank.hooks import BankUrl
from lorabank.types.identifiers import new_id


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of the bank, and a file for what the bank does not hold.

    Attributes:
        namespace: no other run has it: whatever a lasting bank holds already is another's.
        file: of the adapter store; None where nothing outlives the process.
        continued: whether a killed run had it before.
    """

    namespace: str
    file: Path | None
    continued: bool


@contextmanager
def place_for(bank: str, run: str, now: float) -> Iterator[Place]:
    """The place of the unfinished run of that name, or a new one; gone once the block is done.

    A block that raises, or a process that dies, leaves it for the next one. The file stands for an
    unfinished run, so a finished one is never gone on with. A run that another process is at is
    left to it.

    Raises:
        StoreError: the directory can't be written to.
    """
    new, folder = f"{run}-{new_id(now)}", _directory(bank)
    if folder is None:
        yield Place(new, None, False)
        return
    left = sorted(path.stem for path in folder.glob(f"{run}-*.db"))
    for namespace in (*left, new):
        lock = _locked(folder / f"{namespace}.lock")
        if lock is None:
            continue
        try:
            yield Place(namespace, folder / f"{namespace}.db", namespace != new)
            for path in folder.glob(f"{namespace}.db*"):
                path.unlink()
        finally:
            lock.close()
        (folder / f"{namespace}.lock").unlink(missing_ok=True)
        return


def run_name(data: Data, settings: DemoSettings, config: EngineConfig) -> str:
    """The same for the same work: data, settings, and version."""
    same = (
        replace(settings, bank="memory://"),
        replace(config, namespace="any"),
        version("lorabank"),
    )
    digest = hashlib.sha256(repr(same).encode())
    for array in (data.vectors, data.ratings.user, data.ratings.item, data.ratings.time):
        digest.update(array.tobytes())
    return f"demo-{settings.seed}-{digest.hexdigest()[:16]}"


def _directory(bank: str) -> Path | None:
    url = BankUrl.parse(bank)
    path = Path(unquote(url.path))
    return path if not url.netloc and url.path and path.is_dir() else None


def _locked(path: Path) -> sqlite3.Connection | None:
    """SQLite's lock, which ends with the process on every system; None if another has it."""
    lock = sqlite3.connect(path, timeout=0.0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as exc:
        lock.close()
        if exc.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return None
        raise StoreError(f"{path}: can't be locked ({exc})") from exc
    return lock
