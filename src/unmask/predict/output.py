"""Files of rows with their results: JSON lines, CSV and Parquet, each whole or not there at all."""

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
    if path.is_dir():
        raise UserError(f"{path}: that is a folder; name a file in it")
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

    CSV and Parquet have the columns of the first row. Raises UserError for a row that does not fit.
    """
    with whole(path) as partial:
        try:
            with WRITERS[path.suffix](partial) as write:
                yield write
        except _Misfit as error:
            raise UserError(f"{path}: {error}; write .jsonl, where rows may differ") from error


class _Misfit(Exception):
    """A row does not fit the columns of the file."""


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
            """Write a row, and before the first one the columns' names."""
            nonlocal table
            if table is None:
                table = csv.DictWriter(file, list(result))
                table.writeheader()
            _fit(result, table.fieldnames)
            table.writerow({name: _cell(value) for name, value in result.items()})

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    waiting: list[Result] = []
    names: list[str] = []
    with ExitStack() as stack:
        file: parquet.ParquetWriter | None = None

        def flush() -> None:
            """Write the rows that wait as one group."""
            nonlocal file
            try:
                table = pa.Table.from_pylist(waiting, None if file is None else file.schema)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise _Misfit(error) from error
            if file is None:
                file = stack.enter_context(parquet.ParquetWriter(path, table.schema))
            file.write_table(table)
            waiting.clear()

        def write(result: Result) -> None:
            """Let a row wait for its group."""
            names.extend([] if names else result)
            _fit(result, names)
            waiting.append({**result, RESULTS: line(result[RESULTS])})
            if len(waiting) >= GROUP:
                flush()

        yield write
        flush()


WRITERS: Mapping[str, Callable[[Path], AbstractContextManager[Write]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""By the endings of files."""


def _fit(result: Result, names: Collection[str]) -> None:
    """Raise _Misfit for a field that no column is there for."""
    more = [name for name in result if name not in names]
    if more:
        raise _Misfit(f"the first row has no {' or '.join(map(repr, more))}, but a later one has")


def _cell(value: Any) -> Any:
    """Write a list or a mapping as JSON."""
    return line(value) if isinstance(value, list | dict) else value
