"""Labelled rows: which of their columns hold the text and which the label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unmask.errors import UserError
from unmask.text.rows import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Where a row has its text and its label; what is None is found by its usual names."""

    text: tuple[str, ...] | None = None
    """One column, or two or more where the task reads as many."""
    label: str | None = None


TEXTS = (
    ("text",),
    ("sentence",),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("text", "text_pair"),
)
"""Columns that hold a text or a pair by their usual names."""
SHOWN = 4
"""Usual names that an error tells."""


def texts(row: Row, columns: Columns, usual: Sequence[tuple[str, ...]] = TEXTS) -> tuple[str, ...]:
    """Give the texts of a row. Raises UserError, naming it, where they are not there."""
    found = tuple(row.fields)
    # The largest set of columns that is there: a pair where both of its texts are.
    fitting = sorted((names for names in usual if set(names) <= set(found)), key=len)
    names = columns.text or (fitting[-1] if fitting else None)
    if names is None:
        sound(row)
        listed = list(dict.fromkeys("/".join(names) for names in usual))
        wanted = " or ".join(listed[:SHOWN]) + (" or the like" if len(listed) > SHOWN else "")
        raise UserError(
            f"{row.place}: no column of text ({wanted}), only {_listed(found)}; name it with --text"
        )
    return tuple(row.text(name) for name in names)


def label(row: Row, columns: Columns, usual: Sequence[str]) -> Any:
    """Give the label of a row. Raises UserError, naming the row, where it is missing or empty."""
    sound(row)
    names = (columns.label,) if columns.label else usual
    name = next((name for name in names if name in row.fields), None)
    if name is None:
        raise UserError(
            f"{row.place}: no column {' or '.join(names)}, only {_listed(tuple(row.fields))};"
            " name the column of the label with --label"
        )
    value = row.fields[name]
    if value is None or value == "":
        raise UserError(f"{row.place}: {name} is empty; give every row its label")
    return value


def sound(row: Row) -> None:
    """Raise UserError for a row that could not be read."""
    if row.error is not None:
        raise UserError(f"{row.place}: {row.error}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
