"""The catalogue: texts that are embedded, or ready vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.sources.codes import Codebook
from lorabank.evaluation.sources.csv_file import CsvFile, is_utf8
from lorabank.evaluation.sources.embedding import embed, unit
from lorabank.evaluation.sources.interactions import ITEM, require
from lorabank.evaluation.sources.table import INSTALL, Reading, SourceUnavailableError
from lorabank.types.arrays import FloatArray, as_matrix

TWICE, NAMELESS = "item_id occurs again", "no item_id"
NOT_TEXT = "text that is not UTF-8 (kept, with what can be read)"
TEXTLESS = "no text (kept, with a zero vector)"
VECTORLESS = "vector of zeros, or not finite (kept, as zeros)"


def read_catalogue(path: Path, reading: Reading) -> tuple[Codebook, FloatArray]:
    """Numbers for the items, and their vectors, float32 (N, dim) of unit length.

    Args:
        path: CSV with item_id and columns of text, joined as "name: value" (``.gz`` too); or
            parquet with item_id and either a column ``vector`` of lists or columns of text; or
            ``.npz`` with ``item_id`` (N,) and ``vectors`` (N, dim).
        reading: where what is left out is counted.

    Raises:
        InvalidInputError: a column or array is missing, nothing usable, or vectors not finite.
        SourceUnavailableError: a package of the extra is not installed.
    """
    ids, content = _read(path, reading)
    items = Codebook()
    kept = []
    for row, key in enumerate(ids):
        if not key:
            reading.skip_items(NAMELESS, 1)
        elif items.add(key):
            kept.append(row)
        else:
            reading.skip_items(TWICE, 1)
    if not kept:
        raise InvalidInputError(str(path), "no items", "at least one item")
    reading.items = len(kept)
    if isinstance(content, list):
        made, reason = _embedded([content[row] for row in kept], path), TEXTLESS
    else:
        made, reason = content[kept], VECTORLESS
    empty = int(np.count_nonzero(~made.any(axis=1)))
    if empty:
        reading.skip_items(reason, empty)
    return items, unit(made)


def _embedded(texts: list[str], path: Path) -> FloatArray:
    """Vectors of the texts; an empty one has zeros, and no say in what the others' mean is."""
    written = [place for place, text in enumerate(texts) if text]
    if not written:
        raise InvalidInputError(str(path), "no text", "at least one item with a text")
    found = embed(tuple(texts[place] for place in written))
    vectors = np.zeros((len(texts), found.shape[1]), np.float32)
    vectors[written] = found
    return vectors


def _read(path: Path, reading: Reading) -> tuple[list[bytes], list[str] | FloatArray]:
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix in (".parquet", ".pq"):
        return _parquet(path)
    return _csv(path, reading)


def _csv(path: Path, reading: Reading) -> tuple[list[bytes], list[str]]:
    file = CsvFile(path)
    require(file.columns, [ITEM], path)
    names = [name for name in file.columns if name and name != ITEM]
    if not names:
        raise InvalidInputError(
            f"columns of {path.name}", list(file.columns), "columns of text beside 'item_id'"
        )
    ids: list[bytes] = []
    texts: list[str] = []
    for batch in file.batches([ITEM, *names], newlines=True):
        ids += [(value or b"").strip() for value in batch.column(0).to_pylist()]
        raw = [batch.column(i + 1).to_pylist() for i in range(len(names))]
        reading.skip_items(
            NOT_TEXT, sum(not all(map(is_utf8, row)) for row in zip(*raw, strict=True))
        )
        cells = [_texts(column) for column in raw]
        texts += [_joined(names, row) for row in zip(*cells, strict=True)]
    reading.skip_items("another number of columns than the header", file.wrong_width)
    return ids, texts


def _parquet(path: Path) -> tuple[list[bytes], list[str] | FloatArray]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise SourceUnavailableError(INSTALL) from exc
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as exc:
        raise InvalidInputError(str(path), str(exc), "a parquet file") from exc
    require(table.column_names, [ITEM], path)
    ids = [b"" if v is None else _key(v) for v in table.column(ITEM).to_pylist()]
    if "vector" in table.column_names:
        return ids, _matrix(table.column("vector").to_pylist(), path, len(ids))
    names = [name for name in table.column_names if name != ITEM]
    if not names:
        raise InvalidInputError(
            f"columns of {path.name}", table.column_names, "a column 'vector', or columns of text"
        )
    cells = [["" if v is None else str(v) for v in table.column(n).to_pylist()] for n in names]
    return ids, [_joined(names, row) for row in zip(*cells, strict=True)]


def _npz(path: Path) -> tuple[list[bytes], FloatArray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError) as exc:
        raise InvalidInputError(
            str(path), str(exc), "an .npz file without pickled objects"
        ) from exc
    require(list(found), [ITEM, "vectors"], path)
    ids = [_key(value) for value in found[ITEM].tolist()]
    return ids, _matrix(found["vectors"], path, len(ids))


def _matrix(value: object, path: Path, rows: int) -> FloatArray:
    matrix = as_matrix(_finite(value), f"vectors of {path.name}")
    if len(matrix) != rows:
        raise InvalidInputError(
            f"vectors of {path.name}", len(matrix), f"{rows} rows, one per item"
        )
    return matrix


def _finite(value: object) -> object:
    """Rows with a number that is not finite as zeros, if there are others."""
    try:
        with np.errstate(over="ignore"):
            array = np.array(value, np.float32)
    except (TypeError, ValueError):
        return value
    if array.ndim != 2:
        return value
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any() and not bad.all():
        array[bad] = 0
        return array
    return value


def _key(value: object) -> bytes:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as it is written where nothing was missing
    return value.strip() if isinstance(value, bytes) else str(value).strip().encode()


def _texts(column: list[bytes | None]) -> list[str]:
    return [(value or b"").decode("utf-8", errors="replace").strip() for value in column]


def _joined(names: list[str], cells: tuple[str, ...]) -> str:
    """``title: Heat. genres: crime``, what is empty left out; one column alone has no name."""
    if len(names) == 1:
        return cells[0]
    return ". ".join(f"{name}: {cell}" for name, cell in zip(names, cells, strict=True) if cell)
