"""Texts and their translations: files whose lines stand side by side."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from unmask.errors import UserError
from unmask.text.opening import opened
from unmask.text.reading import form

OF_ROWS = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
"""Endings of files whose rows have fields."""
LANGUAGE = re.compile(r"\.[a-z]{2}")
"""Ending of a file of plain text that is named by its language."""


def sides(path: str) -> tuple[str, ...]:
    """Name the files of `a,b`; a file whose own name has a comma is one.

    Raises UserError where one of several has no name.
    """
    found = (path,) if Path(path).exists() else tuple(path.split(","))
    if not all(found):
        raise UserError(f"{path!r} names no file on one side of a comma; give both, or one")
    return found


def plain(path: str) -> bool:
    """Tell whether a file is of lines, as its name says: `.txt`, or a language such as `.en`."""
    return form(path) == ".txt" or LANGUAGE.fullmatch(form(path)) is not None


def lines(paths: Sequence[str], errors: str | None = None) -> Iterator[tuple[str, ...]]:
    """Give the lines of several files of plain text side by side, with single blanks in them.

    errors: `strict` or `replace`, for bytes that are not UTF-8; None: who reads them has no such
    option, and bytes are errors. Raises UserError for files of rows, and, after the last line of
    the shortest file, when they have not the same number of lines.
    """
    for path in paths:
        if form(path) in OF_ROWS:
            raise UserError(
                f"{path}: several files side by side are plain text, a line for each line; rows"
                " with both sides stand in one file"
            )
    streams = [_lines(path) for path in paths]
    for number, row in enumerate(zip_longest(*streams), start=1):
        if any(line is None for line in row):
            check(paths)
        yield tuple(
            _text(line, path, number, errors) for path, line in zip(paths, row, strict=True)
        )


def check(paths: Sequence[str]) -> None:
    """Count the lines of files. Raises UserError when they have not the same number."""
    counts = {path: sum(1 for _ in _lines(path)) for path in paths}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{path} has {count:,}" for path, count in counts.items())
        raise UserError(f"translations need as many lines in each file: {told} lines.")


def join(paths: Sequence[str], out: Path, errors: str) -> int:
    """Write the lines of several files as JSONL: a row is a document, its lines the translations.

    Returns how many were left out because a side is empty. Raises UserError as `lines` does.
    """
    part, left_out = out.with_suffix(".part"), 0
    with part.open("w", encoding="utf-8") as file:
        for row in lines(paths, errors):
            left_out += not all(row)
            if all(row):
                file.write(json.dumps({"text": "\n".join(row)}, ensure_ascii=False) + "\n")
    part.replace(out)
    return left_out


def _lines(path: str) -> Iterator[bytes]:
    """Give the lines of a file; what goes wrong with it is told of it, whatever else is open."""
    with opened(path) as stream:
        yield from stream


def _text(line: bytes, path: str, number: int, errors: str | None) -> str:
    encoding = "utf-8-sig" if number == 1 else "utf-8"
    try:
        return " ".join(line.decode(encoding, errors or "strict").split())
    except UnicodeDecodeError as error:
        otherwise = "" if errors is None else ", or pass --errors replace"
        raise UserError(
            f"{path}, line {number:,}: not UTF-8 (byte {error.start + 1} of the line)."
            f" Save the file as UTF-8{otherwise}."
        ) from error
