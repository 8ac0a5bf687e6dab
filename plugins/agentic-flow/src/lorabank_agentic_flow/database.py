"""Creating agentdb's database: its server does not find its own schema files.

Python's sqlite3 runs them. The file is left in rollback-journal mode without a write-ahead log,
because sql.js refuses to open one that has a log.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lorabank.errors import BankRejectedError, InvalidInputError

_SCHEMAS = ("schema.sql", "frontier-schema.sql")


def prepare_database(database: Path, server: Path) -> None:
    """Create the database with the server's schema if it has none. Blocking: use a thread.

    Raises:
        InvalidInputError: the server's script, its schema files, or the folder are not there.
        BankRejectedError: the file is there and is no database.
    """
    if not server.is_file():
        raise InvalidInputError("server", str(server), "the path of agentdb-mcp-server.js")
    if not database.parent.is_dir():
        raise InvalidInputError("bank", str(database), "a file in a folder that is there")
    try:
        if not has_schema(database):
            schemas = schema_files(server)
            journal_path(database).unlink(missing_ok=True)  # of a database that is gone
            create(database, schemas)
    except sqlite3.Error as exc:
        raise BankRejectedError(f"{database} can't be used as a database: {exc}") from exc


def journal_path(database: Path) -> Path:
    """Where lorabank keeps what is not yet saved in the database."""
    return Path(f"{database}.lorabank-journal")


def has_schema(database: Path) -> bool:
    """Whether the tables of episodes are there. Changes nothing."""
    if not database.is_file() or database.stat().st_size == 0:
        return False
    with closing(
        sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    ) as connection:
        tables = connection.execute(
            "select count(*) from sqlite_master where name in ('episodes', 'episode_embeddings')"
        )
        return bool(tables.fetchone()[0] == 2)


def create(database: Path, schemas: list[Path]) -> None:
    """Run the schema files (each table only if it is not there)."""
    with closing(sqlite3.connect(database)) as connection:
        for schema in schemas:
            connection.executescript(schema.read_text(encoding="utf-8"))
        connection.commit()
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        connection.execute("pragma journal_mode=delete").fetchall()


def schema_files(server: Path) -> list[Path]:
    """The schema files of the package that the server's script belongs to.

    Raises: InvalidInputError if they are not there.
    """
    for folder in server.resolve().parents:
        found = [folder / "schemas" / name for name in _SCHEMAS]
        if all(path.is_file() for path in found):
            return found
    raise InvalidInputError(
        "server", str(server), "a script within agentdb's package, with schemas"
    )
