"""One namespace's trials as columns, beside their vectors: what strategies are learned from.

A strategy weighs the hundreds of trials nearest to a query. Reading and decoding as many patterns
takes tens of milliseconds, so what is needed of each is kept in memory, and caught up with the
table in the same way as an index is (see `shard`). It is read when it is first asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import numpy as np

from lorabank import codec
from lorabank.turns import unhurried
from lorabank.types.arrays import Float64Array, FloatArray, IntArray
from lorabank.types.pattern import Pattern
from lorabank.types.trials import Trials, TrialWriter
from lorabank_faiss import columns
from lorabank_faiss.catching import append, buried_since
from lorabank_faiss.contents import Contents, Question
from lorabank_faiss.growing import Growing
from lorabank_faiss.pool import transaction
from lorabank_faiss.reading import State, blocks, state_of
from lorabank_faiss.rwlock import ReadersWriterLock

# What a search reads itself, in changes (few of which are trials) or trials: some milliseconds.
# The maintenance reads more, and searches do without the table meanwhile.
_MOST_CHANGES = 4_000
_MOST_TRIALS = 500
_DEAD = 1_000  # and more dead rows than living ones: read anew
_ROWS = (
    f"SELECT key, crc, unit, {columns.SELECTED}, record FROM pattern INDEXED BY {{index}} "
    "JOIN body USING (key) WHERE namespace = ? AND has_trial = 1 AND key > ? AND key <= ? "
    "ORDER BY key"
)
_ALL_ROWS = _ROWS.format(index="pattern_with_trial")
_NEW_ROWS = _ROWS.format(index="pattern_by_key")
_COUNT = (
    "SELECT count(*) FROM (SELECT 1 FROM pattern INDEXED BY pattern_with_trial "
    "WHERE namespace = ? AND has_trial = 1 LIMIT ?)"
)
_NO_TRIALS = Trials.of(())


class TrialTable:
    """The trials as of ``sequence`` of the bank's change sequence. Takes no locks."""

    def __init__(self, dim: int) -> None:
        self.contents = Contents(dim)  # all tail: searched exactly
        self._writer = TrialWriter()
        self._ids: list[str] = []
        self._facts = Growing(_NO_TRIALS.facts)
        self._arm: Growing[IntArray] = Growing(_NO_TRIALS.arm)
        self._loss = Growing(_NO_TRIALS.loss)

    @property
    def sequence(self) -> int:
        """All changes up to here are in it."""
        return self.contents.sequence

    @property
    def nbytes(self) -> int:
        """Bytes held, without the ids."""
        parts = (self.contents, self._facts, self._arm, self._loss)
        return sum(part.nbytes for part in parts)

    @property
    def worn(self) -> bool:
        """Whether most of it is dead."""
        rows = self.contents.rows
        dead = len(rows) - rows.living
        return dead > max(_DEAD, rows.living)

    def catch_up(
        self, connection: sqlite3.Connection, state: State, check: Callable[[], None] | None = None
    ) -> None:
        """Read what is new, within the transaction that gave ``state``.

        ``check`` is called between blocks; what it raises ends the work.

        Raises: BankRejectedError, CodecError: damaged data.
        """
        statement = _NEW_ROWS if self.sequence else _ALL_ROWS
        found = connection.execute(statement, (state.code, self.sequence, state.changed))
        for rows in blocks(found):
            self._append(rows)
            if check is not None:
                check()
        self.contents.rows.bury(buried_since(connection, state.code, self.sequence))
        self.contents.sequence = state.changed

    def nearest(self, question: Question) -> Trials:
        """Those of the k nearest that pass, best first; equal scores by id."""
        found = self.contents.nearest(question.query, question.k, question.where, _no_units)
        rows = np.searchsorted(self.contents.rows.keys.values, found.keys)
        return self._all().take(self._ordered(rows, found.scores)[: question.k])

    def _ordered(self, rows: IntArray, scores: Float64Array) -> IntArray:
        """``rows`` by score, best first; equal scores by id."""
        order = np.argsort(-scores, kind="stable")
        rows, scores = rows[order], scores[order]
        starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1]))
        stops = np.append(starts[1:], len(rows))
        ties = stops - starts > 1
        for start, stop in zip(starts[ties].tolist(), stops[ties].tolist(), strict=True):
            rows[start:stop] = sorted(rows[start:stop].tolist(), key=self._ids.__getitem__)
        return rows

    def _all(self) -> Trials:
        writer, facts = self._writer, self._facts.values
        arm, loss = self._arm.values, self._loss.values
        return Trials(self._ids, facts, arm, loss, writer.settings, writer.choices)

    def _append(self, rows: list[tuple[object, ...]]) -> None:
        patterns = [codec.decode(Pattern, "pattern", row[-1]) for row in unhurried(rows)]  # type: ignore[arg-type]
        written = self._writer.write(patterns)
        append(self.contents, [row[:-1] for row in rows])
        self._ids += written.ids
        self._facts.append(written.facts)
        self._arm.append(written.arm)
        self._loss.append(written.loss)


def _no_units(_: IntArray) -> FloatArray:
    raise AssertionError("all vectors are in the tail")


class TrialIndex:
    """The table of the namespace ``name`` with its lock: searched by many threads.

    Attributes:
        wanted: it was asked for, and there is so much to read that the maintenance must.
    """

    def __init__(self, name: str, patience: float) -> None:
        self.wanted = False
        self._name = name
        self._lock = ReadersWriterLock(patience)
        self._table: TrialTable | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        table = self._table
        return 0 if table is None else table.nbytes

    def drop(self) -> None:
        """Give the memory back; read again when needed."""
        self._table = None

    def search(self, connection: sqlite3.Connection, question: Question) -> Trials | None:
        """The trials of the nearest patterns in the database's state of now, whoever wrote it.

        None if there is too much to read first: have the maintenance `read`.
        """
        with self._lock.reading(), transaction(connection):
            state, table = state_of(connection, self._name), self._table
            if state is None or not state.patterns:
                return _NO_TRIALS
            if table is not None and table.sequence == state.changed:
                return table.nearest(question)
            if not _soon_read(connection, table, state):
                self.wanted = True
                return None
        with self._lock.writing(), transaction(connection):
            state, table = state_of(connection, self._name), self._table
            assert state is not None  # namespaces are never removed
            if table is None or table.sequence < state.pruned or table.worn:
                table = TrialTable(len(question.query))
            self._table = None  # should reading fail, the next search begins anew
            table.catch_up(connection, state)
            self._table = table
            return table.nearest(question)

    def read(
        self, connection: sqlite3.Connection, dim: int, most: int, check: Callable[[], None]
    ) -> None:
        """Read the whole table, unless it would take more than ``most`` bytes."""
        self.wanted = False
        with transaction(connection):
            state = state_of(connection, self._name)
            assert state is not None
            (count,) = connection.execute(_COUNT, (state.code, -1)).fetchone()
            if count * (4 * dim + _NO_TRIALS.facts.itemsize) > most:
                return
            table = TrialTable(dim)
            table.catch_up(connection, state, check)
        with self._lock.writing():
            self._table = table


def _soon_read(connection: sqlite3.Connection, table: TrialTable | None, state: State) -> bool:
    if table is not None and table.sequence >= state.pruned and not table.worn:
        return state.changed - table.sequence <= _MOST_CHANGES
    (count,) = connection.execute(_COUNT, (state.code, _MOST_TRIALS + 1)).fetchone()
    return bool(count <= _MOST_TRIALS)
