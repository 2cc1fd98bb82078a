"""Files of rows with named fields: `.jsonl`, `.csv`, `.tsv`, `.parquet`, and the lines of `.txt`.

Each but Parquet also as `.gz`, `.xz`, `.zst`, local or at an fsspec URL. Memory stays bounded by
one row, or one row group of Parquet. In `.tsv` a quotation mark is a character like any other.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from pyarrow import parquet

from unmask.errors import UserError
from unmask.text.opening import COMPRESSIONS, opened

LONGEST = 64 * 1024 * 1024
"""Bytes of a line above which it is refused."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file, or what is wrong with it."""

    place: str
    """File and line, or file and row, as an error names it."""
    fields: dict[str, Any]
    """The values by their names; `.txt` has one field, as the caller names it."""
    done: float | None
    """Share of the file that has been read, 0 to 1; None where it is compressed."""
    error: str | None = None
    """Why the row cannot be used; None for a sound one."""

    def text(self, name: str) -> str:
        """Give a field that must be a text. Raises UserError naming the row and what it has."""
        if self.error is not None:
            raise UserError(f"{self.place}: {self.error}")
        if name not in self.fields:
            found = ", ".join(map(repr, self.fields)) or "nothing"
            raise UserError(f"{self.place}: no field {name!r}, only {found}; name it with --text")
        value = self.fields[name]
        if not isinstance(value, str):
            raise UserError(f"{self.place}: {name} is {value!r}, not a text")
        return value


def read_rows(path: str, name: str = "text") -> Iterator[Row]:
    """Read the rows of a file in order; `name` is the field that the lines of a `.txt` become.

    Raises UserError for a missing or damaged file, an unknown ending, bytes that are not UTF-8
    (with their place) and a header that cannot be used. A bad row is yielded with its error.
    """
    reader = _reader(path, name)
    with opened(path) as stream:
        yield from reader(stream)


def _reader(path: str, name: str) -> Callable[[BinaryIO], Iterator[Row]]:
    """Choose the reader by the file's ending."""
    plain = path.lower().removesuffix(PurePosixPath(path.lower()).suffix)
    packed = path.endswith(COMPRESSIONS)
    kind = PurePosixPath(plain if packed else path.lower()).suffix
    readers: dict[str, Callable[[Lines], Iterator[Row]]] = {
        ".txt": lambda lines: _txt(lines, name),
        ".jsonl": _jsonl,
        ".csv": lambda lines: _table(lines, csv.excel),
        ".tsv": lambda lines: _table(lines, _Tabs),
    }
    if kind == ".parquet" and not packed:
        return lambda stream: _parquet(path, stream)
    if kind not in readers:
        raise UserError(
            f"{path}: nothing is known of this ending; give .txt, .jsonl, .csv, .tsv or .parquet"
        )
    return lambda stream: readers[kind](Lines(path, stream, packed))


class Lines:
    """The decoded lines of a file, with the place of the last one."""

    def __init__(self, path: str, stream: BinaryIO, packed: bool) -> None:
        self._path, self._size, self._offset, self.number = path, 0, 0, 0
        self._stream = stream
        if packed:  # not every decompressor reads lines
            self._stream = io.BufferedReader(cast(io.RawIOBase, stream))
        else:
            self._size = stream.seek(0, io.SEEK_END)
            stream.seek(0)

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(LONGEST + 1):
            self.number += 1
            if len(line) > LONGEST:
                raise UserError(f"{self.place()}: longer than {LONGEST:,} bytes; divide it")
            try:
                text = line.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._path}, byte {self._offset + error.start:,}: not UTF-8"
                    f" (0x{line[error.start]:02X}). Save the file as UTF-8."
                ) from None
            self._offset += len(line)
            yield text

    def place(self, number: int = 0) -> str:
        """Name the last line, or another."""
        return f"{self._path}, line {number or self.number:,}"

    def row(self, fields: dict[str, Any], error: str | None = None, number: int = 0) -> Row:
        """Make a row of what was just read; `number` is its first line if it has several."""
        done = self._offset / self._size if self._size else None
        return Row(self.place(number), fields, done, error)


def _txt(lines: Lines, name: str) -> Iterator[Row]:
    for line in lines:
        yield lines.row({name: line.rstrip("\r\n")})


def _jsonl(lines: Lines) -> Iterator[Row]:
    for line in lines:
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if "\\ud" in line.lower():  # halves of characters, which JSON can hold one by one
                json.dumps(fields, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            yield lines.row({}, f"not JSON in Unicode ({error})")
            continue
        if isinstance(fields, dict):
            yield lines.row(fields)
        else:
            yield lines.row({}, "not a JSON object, as in {'text': 'some words'}")


class _Tabs(csv.Dialect):
    delimiter = "\t"
    quoting = csv.QUOTE_NONE
    lineterminator = "\n"


def _table(lines: Lines, dialect: type[csv.Dialect]) -> Iterator[Row]:
    csv.field_size_limit(LONGEST)  # of the process: the module knows no other place for it
    table = csv.reader(lines, dialect)
    try:
        header = next(table, None)
    except csv.Error as error:
        raise UserError(f"{lines.place()}: {_said(error)}") from error
    if header is None:
        return
    if len(set(header)) < len(header) or "" in header:
        raise UserError(f"{lines.place()}: a header needs a name for each column, once")
    number = lines.number + 1
    while True:
        try:
            values = next(table, None)
        except csv.Error as error:
            yield lines.row({}, _said(error), number)
            number = lines.number + 1
            continue
        if values is None:
            return
        if len(values) == len(header):
            yield lines.row(dict(zip(header, values, strict=True)), number=number)
        elif values:
            wrong = f"{len(values)} columns, but the header has {len(header)}"
            yield lines.row({}, wrong, number)
        number = lines.number + 1


def _said(error: csv.Error) -> str:
    """Say what is wrong with a line of a table, and how it is mended."""
    told = str(error).partition(" - ")[0]
    return f"no line of a table ({told}); mend it, or save the table with usual line ends"


def _parquet(path: str, stream: BinaryIO) -> Iterator[Row]:
    file = parquet.ParquetFile(stream)
    number = 0
    for batch in file.iter_batches(batch_size=256):
        for fields in batch.to_pylist():
            number += 1
            yield Row(f"{path}, row {number:,}", fields, number / file.metadata.num_rows)
