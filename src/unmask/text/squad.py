"""Questions about texts, as SQuAD has them: articles of paragraphs with questions, in one JSON.

Rajpurkar et al. 2016 (v1.1) and 2018 (v2.0, where questions may have no answer).
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from unmask.errors import UserError
from unmask.text.opening import BLOCK, COMPRESSIONS, opened
from unmask.text.rows import LONGEST, Row

_NOT_BLANK = re.compile(r"\S")


def read_squad(path: str) -> Iterator[Row]:
    """Read the questions of a SQuAD file, one a row, holding one article at a time.

    Fields: `title`, `context`, and what a question has: `id`, `question`, `answers` and, in v2.0,
    `is_impossible`. Raises UserError for a missing, damaged or empty file, and for one that is not
    SQuAD JSON; a question that is no object is yielded with its error.
    """
    with opened(path) as stream:
        scanner = _Scanner(path, stream)
        for number, article in enumerate(scanner.articles(), 1):
            where = f"{path}, article {number:,}"
            for paragraph in _list(article, "paragraphs", where):
                questions = _list(paragraph, "qas", where)
                shared = {"title": article.get("title")}
                if "context" in paragraph:
                    shared["context"] = paragraph["context"]
                for question in questions:
                    if isinstance(question, dict):
                        place = f"{path}, question {question.get('id', 'without id')}"
                        yield Row(place, {**shared, **question}, scanner.done)
                    else:
                        yield Row(
                            where, {}, scanner.done, f"the question {question!r} is no object"
                        )


def _list(value: Any, name: str, where: str) -> list[Any]:
    """Give a list that an object of SQuAD must have."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise UserError(f"{where}: not SQuAD JSON: no list {name!r} is there")
    return found


class _Scanner:
    """Reads the JSON of a file value by value."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path, self._stream = path, stream
        self._text, self._at = "", 0
        self._size = self._offset = 0
        if not path.endswith(COMPRESSIONS):
            self._size = stream.seek(0, io.SEEK_END)
            stream.seek(0)
        self._bytes = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()

    @property
    def done(self) -> float | None:
        """Share of the file that has been read, 0 to 1; None where it is compressed."""
        return self._offset / self._size if self._size else None

    def articles(self) -> Iterator[Any]:
        """Give what stands in the list `data` of the file's object."""
        if not self._next():
            raise UserError(f"{self._path}: the file is empty; give SQuAD JSON")
        self._pass("{")
        while self._key() != "data":
            self._value()
            self._pass(",")
        self._pass("[")
        while self._next() != "]":
            yield self._value()
            if self._next() != "]":
                self._pass(",")

    def _key(self) -> Any:
        key = self._value()
        self._pass(":")
        return key

    def _next(self) -> str:
        """Go to the next character that is not blank; an empty text at the end of the file."""
        while True:
            if found := _NOT_BLANK.search(self._text, self._at):
                self._at = found.start()
                return found.group()
            if not self._more():
                return ""

    def _pass(self, mark: str) -> None:
        """Go past a mark that must come next."""
        if self._next() != mark:
            found = repr(self._text[self._at : self._at + 20]) if self._next() else "the end"
            raise UserError(
                f"{self._path}: not SQuAD JSON: {found} where {mark!r} should be; SQuAD is an"
                " object with a list 'data' of articles"
            )
        self._at += 1

    def _value(self) -> Any:
        """Decode the next value, reading on while it is not whole."""
        self._next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
                whole = end < len(self._text)  # or a number might go on
                wrong = ""
            except ValueError as error:
                whole, wrong = False, str(error)
            if len(self._text) - self._at > LONGEST:
                raise UserError(f"{self._path}: an article is longer than {LONGEST:,} characters")
            if whole or not self._more():
                break
        if wrong:
            raise UserError(f"{self._path}: not SQuAD JSON ({wrong})")
        self._at = end
        return value

    def _more(self) -> bool:
        """Read a block, and forget what lies behind; false at the end of the file."""
        block = self._stream.read(BLOCK)
        held = len(self._bytes.getstate()[0])
        try:
            text = self._bytes.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place = self._offset - held + error.start
            raise UserError(
                f"{self._path}, byte {place:,}: not UTF-8 (0x{error.object[error.start]:02X})."
                " Save the file as UTF-8."
            ) from None
        self._offset += len(block)
        if block:
            self._text, self._at = self._text[self._at :] + text, 0
        return bool(block)
