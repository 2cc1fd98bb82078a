"""Texts and their translations: files whose lines stand side by side."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

from unmask.errors import UserError
from unmask.text.opening import opened


def lines(paths: Sequence[str], errors: str = "strict") -> Iterator[tuple[str, ...]]:
    """Give the lines of several files side by side, without white space around them.

    errors: `strict` or `replace`, for bytes that are not UTF-8. Raises UserError, after the last
    line of the shortest file, when they have not the same number of lines.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(opened(path)) for path in paths]
        for number, row in enumerate(zip_longest(*streams), start=1):
            if any(line is None for line in row):
                counts = [
                    number - 1 + (line is not None) + sum(1 for _ in stream)
                    for line, stream in zip(row, streams, strict=True)
                ]
                told = ", ".join(
                    f"{path} has {count:,}" for path, count in zip(paths, counts, strict=True)
                )
                raise UserError(f"translations need as many lines in each file: {told} lines.")
            yield tuple(
                _text(line, path, number, errors) for path, line in zip(paths, row, strict=True)
            )


def join(paths: Sequence[str], out: Path, errors: str) -> None:
    """Write the lines of several files as JSONL: a row is a document, its lines the translations.

    Rows with an empty side are left out. Raises UserError as `lines` does.
    """
    part = out.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for row in lines(paths, errors):
            if all(row):
                file.write(json.dumps({"text": "\n".join(row)}, ensure_ascii=False) + "\n")
    part.replace(out)


def _text(line: bytes, path: str, number: int, errors: str) -> str:
    try:
        return line.decode("utf-8", errors).strip()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {number:,}: not UTF-8 (byte {error.start + 1} of the line)."
            " Save the file as UTF-8, or pass --errors replace."
        ) from error
