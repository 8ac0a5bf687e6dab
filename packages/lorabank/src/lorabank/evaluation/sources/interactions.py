"""Interactions from a CSV of any length: one pass, compact columns, every row accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.sources.codes import UNKNOWN, Codebook, UserSample
from lorabank.evaluation.sources.columns import in_seconds, numbers, times
from lorabank.evaluation.sources.csv_file import CsvFile, is_utf8
from lorabank.evaluation.sources.table import Codes, OnProgress, Reading, in_words
from lorabank.types.arrays import AnyFloatArray, BoolArray

USER, ITEM, RATING = "user_id", "item_id", "rating"
CLOCK, POSITION = "timestamp", "pos"
SWALLOWED = "inside an unclosed quote"
NOT_TEXT = "item_id not in the catalogue, and not UTF-8 either"


@dataclass(slots=True)
class Rows:
    """Columns of what is kept: user and item int32, time float64, liked; (M,) each."""

    user: Codes = field(default_factory=lambda: np.empty(0, np.int32))
    item: Codes = field(default_factory=lambda: np.empty(0, np.int32))
    time: AnyFloatArray = field(default_factory=lambda: np.empty(0, np.float64))
    liked: BoolArray = field(default_factory=lambda: np.empty(0, np.bool_))

    def __len__(self) -> int:
        return len(self.user)

    def where(self, mask: BoolArray) -> Rows:
        """The rows for which ``mask`` (M,) is true."""
        return Rows(self.user[mask], self.item[mask], self.time[mask], self.liked[mask])


class Growing:
    """Batches of rows, joined now and then; never more users than fit ``most`` rows."""

    def __init__(self, users: UserSample, most: int) -> None:
        self._users, self._most = users, most
        self._parts: list[Rows] = []
        self._held = 0

    def add(self, rows: Rows) -> None:
        """Take a batch; where it is too much, half of the users go, with all they had."""
        self._parts.append(rows)
        self._held += len(rows)
        while self._held > self._most:
            stays, renumbered = self._users.halve()
            self._parts = [_renumbered(part, stays, renumbered) for part in self._parts]
            self._held = sum(map(len, self._parts))

    def joined(self) -> Rows:
        """All rows in one; what was held in parts is let go of."""
        parts, self._parts = self._parts, []
        if not parts:
            return Rows()
        return Rows(
            np.concatenate([part.user for part in parts]),
            np.concatenate([part.item for part in parts]),
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.liked for part in parts]),
        )


def read_interactions(
    path: Path,
    items: Codebook,
    reading: Reading,
    *,
    like: float | None,
    most: int,
    seed: int,
    tell: OnProgress,
) -> tuple[Rows, bool]:
    """Rows in the order of the file, and whether their times are a clock.

    Args:
        path: CSV with user_id, item_id, timestamp (numbers, or ISO 8601) or pos, and maybe rating;
            ``.gz`` too.
        items: numbers of the catalogue's items; rows with another item are left out.
        reading: where every row that is left out is counted.
        like: rows with a rating of at least this are likes; None means that all are.
        most: rows that are held at most; beyond it, whole users are left out at random.
        seed: of that sample.
        tell: progress, in bytes.

    Raises:
        InvalidInputError: a column is missing, or no row can be used.
        SourceUnavailableError: pyarrow is not installed.
    """
    file = CsvFile(path)
    clock = CLOCK in file.columns
    columns = [USER, ITEM, CLOCK if clock else POSITION, *([RATING] if like is not None else [])]
    require(file.columns, columns, path)
    reading.rated = RATING in file.columns
    users = UserSample(seed)
    growing = Growing(users, most)
    rows = 0
    tell("read", 0, max(file.size, 1))
    for batch in file.batches(columns):
        rows += batch.num_rows
        growing.add(_usable(batch, clock, items, users, reading, like))
        tell("read", min(file.done, file.size - 1), file.size)
    reading.skip("another number of columns than the header", file.wrong_width)
    reading.skip(SWALLOWED, max(file.lines - rows - file.wrong_width, 0))
    reading.rows = max(file.lines, rows + file.wrong_width)
    reading.sampled, reading.users = users.share, users.met
    tell("read", max(file.size, 1), max(file.size, 1))
    joined = growing.joined()
    if not len(joined):
        lost = f"; left out: {in_words(reading.skipped)}" if reading.skipped else ""
        found = f"none of {reading.rows:,} rows" if reading.rows else "no rows"
        raise InvalidInputError(str(path), found, f"at least one usable row{lost}")
    if clock:
        joined.time = in_seconds(joined.time)
    return joined, clock


def require(found: Sequence[str], needed: Sequence[str], path: Path) -> None:
    """Raises InvalidInputError naming what is missing and what was found."""
    missing = [name for name in needed if name not in found]
    if missing:
        names = [f"{CLOCK!r} or {POSITION!r}" if n == POSITION else repr(n) for n in missing]
        raise InvalidInputError(
            f"columns of {path.name}", list(found), "also a column named " + ", ".join(names)
        )


def _usable(
    batch: Any,
    clock: bool,
    items: Codebook,
    users: UserSample,
    reading: Reading,
    like: float | None,
) -> Rows:
    """A batch's rows that make sense and whose users are in the sample; the others counted."""
    user_keys, item_keys = _keys(batch.column(USER)), _keys(batch.column(ITEM))
    time = times(batch.column(2)) if clock else numbers(batch.column(2))
    ratings = numbers(batch.column(RATING)) if like is not None else None
    known = items.known(item_keys.values)
    item = known[item_keys.index]
    reasons = {
        "no user_id": user_keys.empty,
        "no item_id": item_keys.empty,
        NOT_TEXT: _not_text(item_keys.values, known)[item_keys.index],
        "item_id not in the catalogue": item == UNKNOWN,
        f"{CLOCK if clock else POSITION} is not a number" + (" or date" if clock else ""): np.isnan(
            time
        ),
        "rating is not a number": np.zeros(len(time), bool)
        if ratings is None
        else np.isnan(ratings),
    }
    good = np.ones(len(time), np.bool_)
    for reason, bad in reasons.items():
        reading.skip(reason, int(np.count_nonzero(bad & good)))
        good &= ~bad
    # Only users with a usable row get a number.
    used = np.zeros(len(user_keys.values), np.bool_)
    used[user_keys.index[good]] = True
    codes = np.full(len(used), UNKNOWN, np.int32)
    codes[used] = users.codes([key for key, u in zip(user_keys.values, used, strict=True) if u])
    user = codes[user_keys.index]
    good &= user != UNKNOWN
    liked = np.ones(len(time), np.bool_) if ratings is None or like is None else ratings >= like
    return Rows(user, item, time, liked).where(good)


@dataclass(frozen=True, slots=True, eq=False)
class _Keys:
    """Distinct ids of a batch, (n,) which of them each row has, (n,) whether it is empty."""

    values: list[bytes]
    index: Codes
    empty: BoolArray


def _keys(column: Any) -> _Keys:
    encoded = column.dictionary_encode(null_encoding="encode")
    values = [(value or b"").strip() for value in encoded.dictionary.to_pylist()]
    index = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    empty = np.array([not value for value in values], np.bool_)
    return _Keys(values, index, empty[index] if len(values) else np.zeros(0, np.bool_))


def _not_text(keys: list[bytes], codes: Codes) -> BoolArray:
    """Which of these ids are of another encoding than the catalogue's, most likely; (n,).

    If both have it, ids agree, and nothing is amiss.
    """
    pairs = zip(keys, codes.tolist(), strict=True)
    return np.array([code == UNKNOWN and not is_utf8(key) for key, code in pairs], np.bool_)


def _renumbered(rows: Rows, stays: BoolArray, renumbered: Codes) -> Rows:
    kept = rows.where(stays[rows.user])
    kept.user = renumbered[kept.user]
    return kept
