"""A CSV file as a stream of batches: bounded memory, nothing fatal in a row."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.sources.table import INSTALL, SourceUnavailableError

# Of a block that is parsed at once; also what an unclosed quote can swallow at most.
BLOCK = 1 << 20
HEADER_BYTES = 1 << 16
DELIMITERS = ",;\t|"
BREAK, RETURN = ord("\n"), ord("\r")


class CsvFile:
    """A CSV file with a header, by the names of its columns.

    Attributes:
        columns: names found.
        delimiter: comma, semicolon, tab or bar: the one that splits the header most.
        wrong_width: rows so far with another number of cells than the header.
        lines: lines so far that are not blank, the header not counted.
        size, done: bytes of the file, and those read so far.

    Raises:
        InvalidInputError: empty, without a header in UTF-8, or a name that occurs twice.
        SourceUnavailableError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.done = 0
        self.wrong_width = 0
        self.lines = -1
        self.columns, self.delimiter = self._header()

    def batches(self, columns: Sequence[str], *, newlines: bool = False) -> Iterator[Any]:
        """Record batches of some columns, as binary. ``newlines``: quoted cells may have breaks.

        Raises:
            InvalidInputError: a row longer than a block, or a file that is no CSV.
        """
        try:
            import pyarrow as pa
            import pyarrow.csv as pc
        except ImportError as exc:
            raise SourceUnavailableError(INSTALL) from exc
        with self.path.open("rb") as raw, _opened(raw, self.path) as file:
            try:
                reader = pc.open_csv(
                    _Counting(file, raw, self),
                    read_options=pc.ReadOptions(block_size=BLOCK, use_threads=False),
                    parse_options=pc.ParseOptions(
                        delimiter=self.delimiter,
                        newlines_in_values=newlines,
                        invalid_row_handler=self._skip,
                    ),
                    convert_options=pc.ConvertOptions(
                        check_utf8=False,
                        include_columns=list(columns),
                        column_types={name: pa.binary() for name in columns},
                    ),
                )
                yield from reader
            except pa.ArrowInvalid as exc:
                raise InvalidInputError(str(self.path), str(exc), "a CSV file") from exc

    def _skip(self, _: Any) -> str:
        self.wrong_width += 1
        return "skip"

    def _header(self) -> tuple[tuple[str, ...], str]:
        with self.path.open("rb") as raw, _opened(raw, self.path) as file:
            start = file.read(HEADER_BYTES)
        header = b"".join(start.splitlines()[:1])
        if b"\0" in header or not is_utf8(header):  # UTF-16 is full of zeros
            raise InvalidInputError(str(self.path), "a header that is not UTF-8", "a file in UTF-8")
        line = start.decode("utf-8-sig", errors="replace").splitlines()[:1]
        if not line or not line[0].strip():
            raise InvalidInputError(str(self.path), "no header", "names of columns in line 1")
        delimiter = max(DELIMITERS, key=line[0].count)
        names = tuple(next(csv.reader(io.StringIO(line[0]), delimiter=delimiter)))
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidInputError(f"columns of {self.path.name}", twice, "every name once")
        return names, delimiter


class _Counting(io.RawIOBase):
    """A file that counts what is read of it."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, raw: BinaryIO, owner: CsvFile) -> None:
        self._file, self._raw, self._owner = file, raw, owner
        self._last = b"\n"

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._owner.done = self._raw.tell()
        codes = np.frombuffer(self._last + block, np.uint8)
        starts = (codes[:-1] == BREAK) & (codes[1:] != BREAK) & (codes[1:] != RETURN)
        self._owner.lines += int(np.count_nonzero(starts))
        if block:
            self._last = block[-1:]
        return block


def is_utf8(text: bytes | None) -> bool:
    """Whether these bytes, if any, are text."""
    try:
        (text or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _opened(raw: BinaryIO, path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
