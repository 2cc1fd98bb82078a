"""The three forms of a text file, each read as paragraphs with the ends of documents between them.

Whatever the form, a paragraph is a line, and a line above `LONGEST` bytes comes in parts that are
cut at white space. `None` ends a document.
"""

import codecs
import io
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from unmask.errors import UserError
from unmask.text.opening import COMPRESSIONS, WHOLE, Part, blocks, naming, opened

LONGEST = 1 << 20
"""Bytes of a line that are kept together."""

LARGEST = 64_000_000
"""Bytes of a JSONL row, or of the text of a Parquet row group, that are read at most."""

_STRINGS = (pa.string(), pa.large_string(), pa.string_view())
_SURROGATE = re.compile("[\ud800-\udfff]")
_REMEDY = "Save the file as UTF-8, or pass --errors replace."


def txt(path: str, errors: str, part: Part) -> Iterator[str | None]:
    """Read plain text, where a blank line ends a document."""
    rest = ""  # the line that is not whole yet
    within = False  # whether parts of that line are given already
    for text in _decoded(path, errors, part):
        *lines, rest = (rest + text).split("\n")
        if within and lines and not lines[0].strip():
            del lines[0]  # what is left of a long line is no blank line
        within = within and not lines
        for line in lines:
            if line.strip():
                yield from _parts(line, 0, len(line))
            else:
                yield None
        while (stop := _end_of_part(rest, 0, len(rest))) < len(rest):
            if head := rest[:stop].strip():
                within = True
                yield head
            rest = rest[stop:]
    yield from _parts(rest, 0, len(rest))


def jsonl(path: str, errors: str, part: Part) -> Iterator[str | None]:
    """Read JSON lines, where the field `text` of a line is a document."""
    offset = part.start
    for number, line in enumerate(_lines(path, part), start=part.lines + 1):
        if line and not line.isspace():
            try:
                text = _text_of(line, errors)
            except UnicodeDecodeError as error:
                raise _undecodable(f"{path}, byte {offset + error.start:,}", error) from error
            except UserError as error:
                raise UserError(f"{path}, line {number:,}: {error}") from error
            yield from _document(text)
        offset += len(line) + 1


def parquet(path: str, errors: str, part: Part) -> Iterator[str | None]:
    """Read Parquet, where the column `text` of a row is a document."""
    assert part == WHOLE, "a Parquet file is not cut"
    with naming(path), _seekable(path) as stored:
        table = pq.ParquetFile(stored)
        column = _text_column(table, path)
        row = 0
        for group in range(table.num_row_groups):
            size = table.metadata.row_group(group).column(column).total_uncompressed_size
            if size > LARGEST:
                raise UserError(
                    f"{path}, row group {group + 1}: its text takes {size / 1e6:,.0f} MB, above "
                    f"{LARGEST / 1e6:.0f} MB. Write the file with smaller row groups."
                )
            # Few rows at once: equal texts are stored once, but each takes its memory when read.
            for batch in table.iter_batches(16, [group], ["text"], use_threads=False):
                for value in batch.column(0).cast(pa.large_binary()).to_pylist():
                    row += 1
                    try:
                        text = (value or b"").decode("utf-8", errors)
                    except UnicodeDecodeError as error:
                        place = f"{path}, row {row:,}, byte {error.start:,} of its text"
                        raise _undecodable(place, error) from error
                    yield from _document(text)


def _decoded(path: str, errors: str, part: Part) -> Iterator[str]:
    """Decode a file block by block, its lines ended by newlines alone."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    offset, begun = part.start, part.start > 0
    for block in chain(blocks(path, part), [b""]):
        undecided = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place = f"{path}, byte {offset - undecided + error.start:,}"
            raise _undecodable(place, error) from error
        if text and not begun:
            text, begun = text.removeprefix("\ufeff"), True
        offset += len(block)
        yield newlines.decode(text, final=not block)


def _lines(path: str, part: Part) -> Iterator[bytes]:
    """Split a file into lines. Raises UserError when one is above `LARGEST`."""
    pending: list[bytes] = []
    size, number = 0, part.lines + 1
    for block in blocks(path, part):
        for count, piece in enumerate(block.split(b"\n")):
            if count:
                line = b"".join(pending)
                pending, size, number = [], 0, number + 1
                yield line
            pending.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise UserError(
                    f"{path}, line {number:,}: the row is above {LARGEST / 1e6:.0f} MB. "
                    "Split its text into several rows."
                )
    yield b"".join(pending)


def _text_of(line: bytes, errors: str) -> str:
    """Give the field `text` of a JSON line. Raises UserError or UnicodeDecodeError."""
    row = line.decode("utf-8", errors).removeprefix("\ufeff")
    try:
        content: Any = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON ({error}). Mend the line.") from error
    if not isinstance(content, dict):
        raise UserError('not a JSON object. Write each row as {"text": "..."}.')
    if "text" not in content:
        found = ", ".join(content) or "nothing"
        raise UserError(f"no field `text` (found {found}). Name the field `text`.")
    text = content["text"]
    if text is not None and not isinstance(text, str):
        raise UserError(f"`text` is {type(text).__name__}, not a string. Mend the line.")
    if text and "\\u" in row and (half := _SURROGATE.search(text)):
        if errors == "strict":
            remedy = "Mend the line, or pass --errors replace."
            raise UserError(f"\\u{ord(half[0]):x} is half a character. {remedy}")
        text = _SURROGATE.sub("\ufffd", text)
    return text or ""


def _text_column(table: pq.ParquetFile, path: str) -> int:
    """Find the column `text` among the stored ones."""
    names = table.schema_arrow.names
    if "text" not in names:
        found = ", ".join(names)
        raise UserError(f"{path}: no column `text` (found {found}). Name the column `text`.")
    kind = table.schema_arrow.field("text").type
    stored = [table.schema.column(i).path for i in range(len(table.schema))]
    if (kind.value_type if pa.types.is_dictionary(kind) else kind) not in _STRINGS:
        raise UserError(f"{path}: the column `text` is {kind}, not string. Write it as strings.")
    return stored.index("text")


@contextmanager
def _seekable(path: str) -> Iterator[BinaryIO]:
    """Open a Parquet file, which is read from its end: a compressed one through a copy on disk."""
    if not path.endswith(COMPRESSIONS):
        with opened(path) as stored:
            yield stored
        return
    with tempfile.TemporaryFile() as copy:
        for block in blocks(path):
            copy.write(block)
        copy.seek(0)
        yield copy


def _document(text: str) -> Iterator[str | None]:
    """Give the paragraphs of a document and its end; one without text has one empty paragraph."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    empty = True
    start = 0
    while start < len(text):  # the text may be large, so it is never cut as a whole
        newline = text.find("\n", start)
        stop = newline if newline >= 0 else len(text)
        for part in _parts(text, start, stop):
            empty = False
            yield part
        start = stop + 1
    if empty:
        yield ""
    yield None


def _parts(text: str, start: int, stop: int) -> Iterator[str]:
    """Cut a line of a text where it is too long: no part is empty or has white space around it."""
    while start < stop:
        end = _end_of_part(text, start, stop)
        if part := text[start:end].strip():
            yield part
        start = end


def _end_of_part(text: str, start: int, stop: int) -> int:
    """Find the last white space within `LONGEST` bytes, or their end; `stop` if it is nearer."""
    if stop - start <= LONGEST // 4:  # no character has more than four bytes
        return stop
    window = text[start : min(stop, start + LONGEST)]
    encoded = window.encode()
    if start + len(window) == stop and len(encoded) <= LONGEST:
        return stop
    head = encoded[:LONGEST].decode("utf-8", "ignore")
    front = head.rsplit(None, 1)
    return start + len(front[0] if len(front) > 1 else head)


def _undecodable(place: str, error: UnicodeDecodeError) -> UserError:
    return UserError(f"{place}: not UTF-8 (0x{error.object[error.start]:02X}). {_REMEDY}")
