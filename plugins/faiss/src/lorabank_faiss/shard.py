"""One namespace's index with its lock: searched by many threads, caught up by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from lorabank import codec
from lorabank.errors import BankRejectedError
from lorabank.logs import get_logger
from lorabank.turns import unhurried
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.pattern import Match, Pattern
from lorabank.types.trials import Trials
from lorabank_faiss.catching import agrees, catch_up, units_by_key
from lorabank_faiss.contents import Contents, Question, Scored
from lorabank_faiss.pool import transaction
from lorabank_faiss.reading import State, by_key, state_of
from lorabank_faiss.rwlock import ReadersWriterLock
from lorabank_faiss.threads import single
from lorabank_faiss.trials import TrialIndex
from lorabank_faiss.vectors import unit_vectors

_log = get_logger("lorabank_faiss")
# Up to so many patterns per one that is wanted are read whole, where vectors would do.
_FEW_PER_ANSWER = 2
_BLOCK = 64  # patterns that are read together, where none is kept

T = TypeVar("T")

# Gives a namespace's contents as far as they can be had at once: a snapshot, or nothing.
Load = Callable[[sqlite3.Connection, State], Contents]


class Shard:
    """The index of the namespace ``name``; ``contents`` is None until it is first needed.

    ``trials`` are those of its patterns that have one, with a lock of their own.
    """

    def __init__(self, name: str, load: Load, patience: float) -> None:
        self.name = name
        self.lock = ReadersWriterLock(patience)
        self.contents: Contents | None = None
        self.trials = TrialIndex(name, patience)
        self._load = load

    @property
    def approximate(self) -> bool:
        """Whether it holds an approximate index."""
        contents = self.contents
        return contents is not None and contents.main is not None

    def search(self, connection: sqlite3.Connection, question: Question) -> list[Match]:
        """The best matches in the database's state of now, whoever wrote it."""
        return self._asked(connection, question, _search) or []

    def search_trials(self, connection: sqlite3.Connection, question: Question) -> Trials:
        """The trials of the best matches that have one, read from the database one by one.

        Hundreds of whole patterns at once are many objects to make, to collect and to give back.
        """
        return self._asked(connection, question, _search_trials) or Trials.of(())

    def _asked(
        self,
        connection: sqlite3.Connection,
        question: Question,
        answer: Callable[[sqlite3.Connection, Contents, Question], T],
    ) -> T | None:
        """An answer from contents that are up to date; None if there are no patterns.

        The transaction begins under the lock, so that it never sees an older state than the index.
        """
        with self.lock.reading(), transaction(connection):
            state = state_of(connection, self.name)
            if state is None or not state.patterns:
                return None
            if self.contents is not None and self.contents.sequence == state.changed:
                return answer(connection, self.contents, question)
        with self.lock.writing(), transaction(connection):
            state = state_of(connection, self.name)
            assert state is not None  # namespaces are never removed
            return answer(connection, self.updated(connection, state), question)

    def updated(self, connection: sqlite3.Connection, state: State) -> Contents:
        """Caught up with ``state``. Needs the lock for writing.

        Raises: BankRejectedError if index and table can't be brought to agree.
        """
        contents = self.contents
        if contents is None or contents.sequence < state.pruned:
            contents = self._load(connection, state)
        self.contents = None  # should reading fail, the next search begins anew
        catch_up(connection, contents, state)
        if not agrees(contents, state):
            _log.warning("index and table disagree: reading the table anew", namespace=self.name)
            contents = Contents(contents.dim)
            catch_up(connection, contents, state)
            if not agrees(contents, state):
                raise BankRejectedError(
                    f"the database is damaged: namespace {self.name!r} says it has "
                    f"{state.patterns} patterns, found are {contents.rows.living}"
                )
        self.contents = contents
        return contents


class _Patterns:
    """The patterns that a search reads, each once: for its vector, and for the answer."""

    def __init__(self, connection: sqlite3.Connection, dim: int, few: int) -> None:
        self._connection, self._dim, self._few = connection, dim, few
        self._read: dict[int, Pattern] = {}

    def units(self, keys: IntArray) -> FloatArray:
        """Unit vectors float32 (n, dim), in the order of their keys.

        Of a few, which nearly all are answers, from the whole patterns, as they were made when
        those were stored. Raises BankRejectedError if one is damaged or missing.
        """
        if not 0 < len(keys) <= self._few:
            return units_by_key(self._connection, keys, self._dim)
        contexts = [pattern.context for pattern in self.of(keys.tolist())]
        if any(len(context) != self._dim for context in contexts):
            raise BankRejectedError("a stored pattern is damaged: restore the bank from a backup")
        return unit_vectors(contexts)

    def of(self, keys: Sequence[int]) -> list[Pattern]:
        """Whole patterns, in the order of their keys."""
        missing = [key for key in keys if key not in self._read]
        if missing:
            bodies = by_key(self._connection, "record", missing)
            for key, (record,) in unhurried(bodies.items()):
                self._read[key] = codec.decode(Pattern, "pattern", record)
        return [self._read[key] for key in keys]


def _search(connection: sqlite3.Connection, contents: Contents, question: Question) -> list[Match]:
    patterns = _Patterns(connection, contents.dim, _FEW_PER_ANSWER * question.k)
    with single():
        found = contents.nearest(question.query, question.k, question.where, patterns.units)
    keys, scores = _best(connection, found, question.k)
    matches = list(map(Match, patterns.of(keys), scores))
    matches.sort(key=lambda match: (-match.score, match.pattern.id))
    return matches


def _search_trials(
    connection: sqlite3.Connection, contents: Contents, question: Question
) -> Trials:
    with single():
        units = partial(units_by_key, connection, dim=contents.dim)
        found = contents.nearest(question.query, question.k, question.where, units)
    keys, scores = _best(connection, found, question.k)
    trials = Trials.of(_one_by_one(connection, keys))
    if len(trials) != len(keys):
        raise BankRejectedError("a stored pattern is damaged: restore the bank from a backup")
    ordered = sorted(range(len(keys)), key=lambda row: (-scores[row], trials.ids[row]))
    return trials.take(np.array(ordered, np.int64))


def _one_by_one(connection: sqlite3.Connection, keys: Sequence[int]) -> Iterator[Pattern]:
    """Whole patterns, in the order of their keys; none is kept."""
    for start in range(0, len(keys), _BLOCK):
        some = keys[start : start + _BLOCK]
        bodies = by_key(connection, "record", some)
        for key in some:
            yield codec.decode(Pattern, "pattern", bodies[key][0])


def _best(connection: sqlite3.Connection, found: Scored, k: int) -> tuple[list[int], list[float]]:
    """The k best keys, in no order; among those that tie with the last, the smallest ids."""
    if len(found.keys) <= k:
        return found.keys.tolist(), found.scores.tolist()
    order = np.argsort(-found.scores, kind="stable")
    keys, scores = found.keys[order], found.scores[order]
    least = scores[k - 1]
    above = int(np.count_nonzero(scores > least))
    level = keys[above : int(np.count_nonzero(scores >= least))].tolist()
    if len(level) > k - above:
        ids = by_key(connection, "id", level)
        level.sort(key=lambda key: ids[key][0])
    return keys[:above].tolist() + level[: k - above], scores[:k].tolist()
