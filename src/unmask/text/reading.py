"""Text files of every format, read paragraph by paragraph in bounded memory."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fsspec.core import url_to_fs

from unmask.errors import UserError
from unmask.text import formats
from unmask.text.opening import COMPRESSIONS, WHOLE, Part

FORMATS = {".txt": formats.txt, ".jsonl": formats.jsonl, ".parquet": formats.parquet}
"""The reader for each ending of a name, compression aside."""

READABLE = f"{', '.join(FORMATS)}, each also with {', '.join(COMPRESSIONS)}"
"""The formats, for people."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of text."""

    path: str
    """Path or URL."""
    size: int
    """Bytes as stored."""


class Piece(NamedTuple):
    """A paragraph, or a part of one that is longer than 1 MiB."""

    text: str
    """Without white space around it; empty only as the single piece of a document without text."""
    size: int
    """Its bytes in UTF-8."""
    ends_document: bool
    """Whether it is the last of its document."""


def expand(texts: Sequence[str]) -> list[TextFile]:
    """Find the files that paths, folders, globs and URLs name: sorted by path, each once.

    Of a folder, all files below it whose names end as text does, hidden ones aside. Raises
    UserError when nothing is found, or when a file is named that is of no known format.
    """
    found: dict[str, TextFile] = {}
    for text in texts:
        files = {file.path: file for file in _find(text)}
        if not files:
            raise UserError(f"{text}: no text found there. Name files or folders of {READABLE}.")
        found |= files
    return [found[path] for path in sorted(found)]


def read(file: TextFile, errors: str = "strict", part: Part = WHOLE) -> Iterator[Piece]:
    """Give the pieces of a file, or of a part of it, in order; an empty file has none.

    In `.txt` a blank line ends a document and a line is a paragraph; in the others the field `text`
    of a row is a document and its lines are paragraphs. With `errors` "strict" bytes that are not
    UTF-8 are refused, with "replace" replaced. Raises UserError, which names the place, when the
    file is damaged, of another format, or has a row that is too large.
    """
    if file.size == 0:
        return
    paragraph: str | None = None
    for following in FORMATS[form(file.path)](file.path, errors, part):
        if paragraph is not None:
            yield _piece(paragraph, ends_document=following is None)
        paragraph = following
    if paragraph is not None:
        yield _piece(paragraph, ends_document=True)


def _piece(text: str, ends_document: bool) -> Piece:
    return Piece(text, len(text) if text.isascii() else len(text.encode()), ends_document)


def form(path: str) -> str:
    """Give the ending of a name, compression aside: `.txt` for `a.txt.gz`."""
    for compression in COMPRESSIONS:
        path = path.removesuffix(compression)
    return PurePosixPath(path).suffix


def _find(text: str) -> Iterator[TextFile]:
    """Find the files that one path, folder, glob or URL names."""
    try:
        system, path = url_to_fs(text)
        named = {path: system.info(path)} if system.exists(path) else system.glob(path, detail=True)
    except (ImportError, OSError, ValueError) as error:
        raise UserError(f"{text}: cannot be looked up ({error}). Check the path.") from error
    remote = "://" in text

    def file(name: str, info: dict[str, Any]) -> TextFile:
        """Look at one file; raises UserError where it cannot be read."""
        shown = system.unstrip_protocol(name) if remote else _shown(name)
        if info["size"] is None:
            raise UserError(f"{shown}: the server does not tell its size. Download it first.")
        if form(name) not in FORMATS:
            raise UserError(f"{shown}: not of a format that is read. Name files of {READABLE}.")
        return TextFile(shown, info["size"])

    for name, info in named.items():
        if info["type"] != "directory":
            yield file(name, info)
            continue
        for below, inside in system.find(name, detail=True).items():
            hidden = any(part.startswith(".") for part in _below(below, name))
            if form(below) in FORMATS and not hidden:
                yield file(below, inside)


def _below(path: str, folder: str) -> tuple[str, ...]:
    return PurePosixPath(path).relative_to(PurePosixPath(folder)).parts


def _shown(path: str) -> str:
    """Write a local path as seen from here, where it lies below."""
    here = os.getcwd() + os.sep
    return path.removeprefix(here)
