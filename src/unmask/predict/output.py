"""Files of rows with their results: JSON lines, CSV and Parquet, each whole or not there at all."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from unmask.errors import UserError
from unmask.text.rows import read_rows

Result = dict[str, Any]
"""A row with its `results`."""
Write = Callable[[Result], Any]

GROUP = 1_000
"""Rows that Parquet gets at once."""
RESULTS = "results"
"""Name of the column that is added; in CSV and Parquet it holds JSON."""


def line(value: Any) -> str:
    """Write JSON in one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Let a file be written beside its place, and put it there when nothing went wrong."""
    partial = path.with_name(path.name + ".part")
    try:
        yield partial
        partial.replace(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no folder {path.parent}; make it first") from error
    finally:
        partial.unlink(missing_ok=True)


def check(path: Path) -> None:
    """Raise UserError for a file of rows of an ending that is not known."""
    if path.suffix not in WRITERS:
        raise UserError(f"{path}: rows are written to {', '.join(WRITERS)}; choose one of these")


@contextmanager
def rows(path: Path) -> Iterator[Write]:
    """Write a file of rows, of the form that its ending names.

    CSV and Parquet have the columns of the first row, or first rows. Raises UserError for rows that
    do not fit them.
    """
    with whole(path) as partial, WRITERS[path.suffix](partial) as write:
        yield write


def read(path: Path) -> list[Result]:
    """Read what was written."""
    found = [row.fields for row in read_rows(str(path))]
    if path.suffix == ".jsonl":
        return found
    return [{**fields, RESULTS: json.loads(fields[RESULTS])} for fields in found]


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda result: file.write(line(result) + "\n")


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        table: csv.DictWriter[str] | None = None

        def write(result: Result) -> None:
            nonlocal table
            if table is None:
                table = csv.DictWriter(file, list(result))
                table.writeheader()
            try:
                table.writerow({name: _cell(value) for name, value in result.items()})
            except ValueError as error:
                raise UserError(
                    f"{path.stem}: {error}; rows of different fields fit into .jsonl alone"
                ) from error

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    waiting: list[Result] = []
    file: parquet.ParquetWriter | None = None

    def flush() -> None:
        nonlocal file
        try:
            table = pa.Table.from_pylist(waiting, None if file is None else file.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UserError(
                f"{path.stem}: {error}; values of different kinds fit into .jsonl alone"
            ) from error
        file = file or parquet.ParquetWriter(path, table.schema)
        file.write_table(table)
        waiting.clear()

    def write(result: Result) -> None:
        waiting.append({**result, RESULTS: line(result[RESULTS])})
        if len(waiting) >= GROUP:
            flush()

    try:
        yield write
        flush()
    finally:
        if file is not None:
            file.close()


WRITERS: Mapping[str, Callable[[Path], AbstractContextManager[Write]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""By the endings of files."""


def _cell(value: Any) -> Any:
    """Write a list or a mapping as JSON."""
    return line(value) if isinstance(value, list | dict) else value
