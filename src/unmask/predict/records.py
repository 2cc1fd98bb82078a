"""Kinds of tasks by their names, and the records of files."""

from collections.abc import Callable, Iterator
from typing import Any

from unmask.contracts import Kind
from unmask.errors import UserError
from unmask.registry import discover
from unmask.text.columns import Columns, sound
from unmask.text.rows import Row


def kind_of(name: str) -> Kind:
    """Find a kind of task. Raises UserError, with those that there are."""
    kinds: dict[str, Kind] = discover("unmask.tasks", "TASK")
    if name not in kinds:
        raise UserError(f"there is no task {name!r}; there are {', '.join(sorted(kinds))}")
    return kinds[name]


def columns_of(text: str | None, label: str | None) -> Columns:
    """Understand `--text A,B` and `--label C`."""
    return Columns(text=None if text is None else tuple(text.split(",")), label=label)


def records(
    kind: Kind,
    path: str,
    columns: Columns,
    labelled: bool = True,
    read: Callable[[Row], object] = lambda row: None,
) -> Iterator[Any]:
    """Read the records of a file. Raises UserError for a bad row, and where there is none.

    read: is told of every row.
    """
    count = 0
    for row in kind.rows(path):
        sound(row)
        count += 1
        read(row)
        yield kind.record(row, columns, labelled)
    if not count:
        raise UserError(f"{path}: no rows; give a file that has some")
