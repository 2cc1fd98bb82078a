"""Files opened wherever they are, and decompressed, in blocks of bytes."""

import gzip
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

import fsspec
import pyarrow as pa

from unmask.errors import UserError

BLOCK = 1 << 20
"""Bytes that are read at once."""

COMPRESSIONS = (".gz", ".xz", ".zst")
"""Endings of the names of compressed files."""


class Part(NamedTuple):
    """A part of a file that begins and ends between two documents; by default all of it."""

    start: int = 0
    """Byte where it begins."""
    stop: int | None = None
    """Byte where it ends; None for the end of the file."""
    lines: int = 0
    """Lines before it."""


WHOLE = Part()
"""All of a file."""


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Raise what goes wrong with a file in this block as a UserError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Check the path.") from error
    except (EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise UserError(f"{path}: damaged ({error}). Make or copy the file anew.") from error
    except OSError as error:
        if error.errno is None:  # not of the system: so gzip and pyarrow report damage
            raise UserError(f"{path}: damaged ({error}). Make or copy the file anew.") from error
        raise UserError(f"{path}: cannot be read ({error.strerror}). Check the file.") from error


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a path or URL for reading, decompressed by the ending of its name."""
    with naming(path), fsspec.open(path, "rb") as stored:
        if path.endswith(".gz"):
            stored = gzip.GzipFile(fileobj=stored)
        elif path.endswith(".xz"):
            stored = lzma.LZMAFile(stored)  # noqa: SIM115  (it owns nothing: `stored` is closed)
        elif path.endswith(".zst"):
            # pyarrow notices a truncated file, which zstandard's own reader takes for a whole one.
            stored = pa.input_stream(pa.PythonFile(stored, mode="r"), compression="zstd")
        yield cast(BinaryIO, stored)


def blocks(path: str, part: Part = WHOLE) -> Iterator[bytes]:
    """Give the decompressed bytes of a file, or of a part of one as stored, a block at a time."""
    with opened(path) as stream:
        if part.start:
            stream.seek(part.start)
        left = sys.maxsize if part.stop is None else part.stop - part.start
        while block := stream.read(min(BLOCK, left)):
            left -= len(block)
            yield block
