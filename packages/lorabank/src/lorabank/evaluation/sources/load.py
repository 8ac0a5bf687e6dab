"""One entry for every source."""

from __future__ import annotations

from pathlib import Path

from lorabank.errors import InvalidInputError
from lorabank.evaluation.sources.builtin import BUILTIN
from lorabank.evaluation.sources.catalogue import read_catalogue
from lorabank.evaluation.sources.interactions import read_interactions
from lorabank.evaluation.sources.table import Dataset, OnProgress, Reading

MOST_ROWS = 4_000_000


def load_dataset(
    interactions: str,
    items: str | None,
    *,
    like: float | None = None,
    most_rows: int = MOST_ROWS,
    seed: int = 0,
    tell: OnProgress = lambda *_: None,
) -> Dataset:
    """A built-in log by its name, or two files.

    Args:
        interactions: a name of `BUILTIN` (then ``items`` is None), or the path of a CSV.
        items: path of a CSV, parquet or npz.
        like: rating from which on a row is a like.
        most_rows: held at most, about 17 bytes each; beyond it users are sampled.
        seed: of that sample.
        tell: progress.

    Raises:
        InvalidInputError: no such file, a missing column, or nothing usable.
        SourceUnavailableError: a package of the extra is missing.
    """
    if items is None:
        if interactions not in BUILTIN:
            raise InvalidInputError(
                "INTERACTIONS", interactions, f"a CSV and ITEMS, or one of {', '.join(BUILTIN)}"
            )
        tell("read", 0, 1)
        dataset = BUILTIN[interactions](like)
        tell("read", 1, 1)
        return dataset
    if interactions in BUILTIN and not Path(interactions).is_file():
        raise InvalidInputError(
            "ITEMS", items, f"nothing: {interactions!r} is a built-in log, and brings its items"
        )
    reading = Reading()
    path = _file(interactions, "INTERACTIONS")
    codes, vectors = read_catalogue(_file(items, "ITEMS"), reading)
    rows, clock = read_interactions(
        path, codes, reading, like=like, most=most_rows, seed=seed, tell=tell
    )
    return Dataset(path.name, rows.user, rows.item, rows.liked, rows.time, vectors, clock, reading)


def _file(name: str, field: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise InvalidInputError(field, name, "a file that is there")
    return path
