"""Words in columns, as the shared tasks of CoNLL have them.

A word a line, its label in the last column, a blank line between sentences.
"""

from collections.abc import Iterator

from unmask.errors import UserError
from unmask.text.opening import COMPRESSIONS, opened
from unmask.text.rows import Lines, Row

LONGEST = 100_000
"""Words of a sentence above which the file is refused: it seems to have no blank lines."""

DOCUMENT = "-DOCSTART-"
"""The first word of a line that only begins a document."""

HEADER = (
    {"word", "words", "token", "tokens", "text", "sentence"},
    {"label", "labels", "tag", "tags"},
)
"""What the first and the last column are called in the header of a table."""


def read_conll(path: str) -> Iterator[Row]:
    """Read sentences as rows of `words`, and of `labels` where there are two columns or more.

    Columns are divided by tabs, or by blanks where a line has no tab; all lines must have as many
    as the first. The place of a row is the line of its first word. Compressed files are read as
    everywhere. A sentence with uneven columns is yielded with its error, at the line of them.
    Raises UserError for a missing or damaged file, one without blank lines and one with a header.
    """
    with opened(path) as stream:
        yield from _sentences(Lines(path, stream, path.endswith(COMPRESSIONS)))


def _sentences(lines: Lines) -> Iterator[Row]:
    width = first = start = 0
    words: list[list[str]] = []
    wrong: Row | None = None
    for line in lines:
        columns = _columns(line)
        if not columns:
            if words:
                yield wrong or lines.row(_fields(words), number=start)
            words, wrong = [], None
        elif columns[0] != DOCUMENT:
            if not first:
                _refuse_header(columns, lines.place())
            width, first = width or len(columns), first or lines.number
            start = start if words else lines.number
            if len(columns) != width and wrong is None:
                said = f"uneven columns: here {len(columns)}, but in line {first:,} {width}"
                wrong = lines.row({}, said)
            words.append(columns)
            if len(words) > LONGEST:
                raise UserError(
                    f"{lines.place(start)}: a sentence of more than {LONGEST:,} words;"
                    " put a blank line behind every sentence"
                )
    if words:
        yield wrong or lines.row(_fields(words), number=start)


def _refuse_header(columns: list[str], place: str) -> None:
    """Raise UserError for the first line of a table, whose texts would be taken for words."""
    names, labels = HEADER
    if columns[0].lower() in names and columns[-1].lower() in labels:
        raise UserError(
            f"{place}: a header, {columns[0]!r} to {columns[-1]!r}; CoNLL columns have none: a word"
            " a line, its label last, a blank line behind every sentence"
        )


def _columns(line: str) -> list[str]:
    """Divide a line; a blank one has no columns."""
    line = line.strip(" \r\n")
    if not line.strip():
        return []
    return line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]


def _fields(words: list[list[str]]) -> dict[str, list[str]]:
    first = [columns[0] for columns in words]
    if len(words[0]) == 1:
        return {"words": first}
    return {"words": first, "labels": [columns[-1] for columns in words]}
