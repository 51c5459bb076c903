"""Reading a file: CSV as machines and spreadsheets write it, InfluxDB's annotated CSV, and Parquet, row by row."""

import codecs
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

PARQUET_SUFFIXES = (".parquet", ".pq")
BATCH_ROWS = 20_000
# In the order of preference, if a header has as many of one as of another.
SEPARATORS = "\t;|,"
ANNOTATIONS = ("#group", "#datatype", "#default")
MAX_SHOWN = 80
# Files whose first bytes name their encoding.
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class FileRefused(Exception):
    """A file cannot be imported as asked; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row by its columns, and where it stands: in CSV the number of the line, counted from 1."""

    number: int
    values: Mapping[str, Any]


class Table(Protocol):
    """A file that can be read several times; `names` are its columns, with duplicates."""

    names: list[str]

    def rows(self) -> Iterator[Row]:
        """All rows.

        Raises:
            FileRefused: the file cannot be read, or a row does not fit the header.

        """


def open_table(path: Path, *, separator: str | None = None, encoding: str | None = None) -> Table:
    """Open a file by its suffix, and read the names of its columns.

    Raises:
        FileRefused: the file cannot be read, or is empty.

    """
    return ParquetTable(path) if path.suffix.lower() in PARQUET_SUFFIXES else CsvTable(path, separator, encoding)


class ParquetTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.names = list(pq.read_schema(path).names)
        except (OSError, pa.ArrowInvalid) as error:
            raise FileRefused(f"{path} cannot be read as Parquet: {error}") from None

    def rows(self) -> Iterator[Row]:
        number = 0
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    for values in _to_microseconds(batch).to_pylist():
                        number += 1
                        yield Row(number, values)
        except (OSError, pa.ArrowInvalid) as error:
            raise FileRefused(f"{self._path} cannot be read after row {number}: {error}") from None


class CsvTable:
    """Text in columns: the separator is found in the header, and blanks around values do not count.

    Lines that begin with # before the header are comments. InfluxDB's files may hold several tables one after the
    other, each with annotations and a header of its own.
    """

    def __init__(self, path: Path, separator: str | None, encoding: str | None) -> None:
        self._path = path
        self._separator = separator or ","
        try:
            self._encoding = encoding or _encoding_of(path)
            if separator is None:
                with self._open() as file:
                    self._separator = _separator_of(file)
            with self._open() as file:
                names = next((fields for _, fields in self._records(file) if _is_header(fields)), None)
        except (OSError, UnicodeError, LookupError) as error:
            raise self._unreadable(error) from None
        if names is None:
            raise FileRefused(f"{path} is empty; its first line must name the columns")
        if any("\0" in name for name in names):
            raise FileRefused(f"{path} is not text, or has another encoding; set --encoding, such as utf-16-le")
        self.names = names

    def rows(self) -> Iterator[Row]:
        try:
            with self._open() as file:
                yield from self._rows(file)
        except (OSError, UnicodeError) as error:
            raise self._unreadable(error) from None

    def _rows(self, file: TextIO) -> Iterator[Row]:
        names: list[str] | None = None
        defaults: list[str] = []
        for number, fields in self._records(file):
            if fields and fields[0] in ANNOTATIONS:
                names = None
                defaults = ["", *fields[1:]] if fields[0] == "#default" else defaults
            elif names is None:
                names = fields if _is_header(fields) else None
            elif fields != names and not _is_comment(fields):  # files that were joined have their header twice
                yield Row(number, self._values(number, fields, names, defaults))

    def _values(self, number: int, fields: list[str], names: list[str], defaults: Sequence[str]) -> dict[str, str]:
        if not any(fields):
            return {}
        if len(fields) > len(names) and not any(fields[len(names) :]):
            del fields[len(names) :]  # separators at the end of the line
        if len(fields) != len(names):
            raise FileRefused(
                f"{self._path}: line {number} has {len(fields)} fields, but the header has {len(names)}. Nothing was"
                f" imported. The line: {self._separator.join(fields)[:MAX_SHOWN]}"
            )
        values = dict(zip(names, fields, strict=True))
        for name, default in zip(names, defaults, strict=False):
            values[name] = values[name] or default
        return values

    def _records(self, file: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Lines with their fields, without blanks around them."""
        reader = csv.reader(file, delimiter=self._separator, skipinitialspace=self._separator != "\t", strict=True)
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise FileRefused(f"{self._path}: line {reader.line_num} is not CSV: {error}") from None
            if fields is None:
                return
            if reader.line_num > 1 or not fields or not fields[0].startswith("sep="):  # Excel's note of the separator
                yield reader.line_num, [field.strip() for field in fields]

    def _open(self) -> TextIO:
        return self._path.open(encoding=self._encoding, newline="")

    def _unreadable(self, error: Exception) -> FileRefused:
        if isinstance(error, OSError):
            return FileRefused(f"{self._path} cannot be read: {error.strerror or error}")
        if isinstance(error, LookupError):
            return FileRefused(f"{self._encoding!r} is not an encoding; choose one such as utf-8, utf-16 or cp1252")
        return FileRefused(f"{self._path} is not text in {self._encoding}; set --encoding, such as cp1252 or utf-16")


def _encoding_of(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(3)
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")


def _separator_of(file: TextIO) -> str:
    """The character that separates the columns of the first line that may be a header."""
    for line in islice(file, 1000):
        if line.startswith("sep="):
            return line[4:5]
        if line.strip() and not line.startswith("#"):
            outside_quotes = "".join(line.split('"')[::2])
            return max(SEPARATORS, key=outside_quotes.count) if any(s in line for s in SEPARATORS) else ","
    return ","


def _is_comment(fields: Sequence[str]) -> bool:
    return len(fields) == 1 and fields[0].startswith("#")


def _is_header(fields: Sequence[str]) -> bool:
    return any(fields) and not fields[0].startswith("#")


def _to_microseconds(batch: pa.RecordBatch) -> pa.Table:
    """The batch with times of Python's resolution; finer digits are cut."""
    table = pa.Table.from_batches([batch])
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            kind = pa.timestamp("us", field.type.tz)
            table = table.set_column(i, field.name, table.column(i).cast(kind, safe=False))
    return table
