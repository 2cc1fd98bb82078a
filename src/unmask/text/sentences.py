"""Text cut into sentences, the units of next-sentence prediction."""

from collections.abc import Callable
from typing import Literal

import nupunkt
import regex

Splitter = Callable[[str], list[str]]
"""A paragraph to its sentences, none of them empty, without the white space around them."""


def splitter(kind: Literal["punkt", "unicode", "lines"]) -> Splitter:
    """Give the function that cuts a paragraph into sentences."""
    return {"punkt": _punkt, "unicode": _unicode, "lines": _lines}[kind]


def _lines(text: str) -> list[str]:
    return [line for line in map(str.strip, text.split("\n")) if line]


def _punkt(text: str) -> list[str]:
    return [s for s in map(str.strip, nupunkt.load("default").tokenize(text)) if s]


def _unicode(text: str) -> list[str]:
    ends = regex.compile(
        r"[\p{Sentence_Break=STerm}\p{Sentence_Break=ATerm}]+[\p{Close_Punctuation}\p{Final_Punctuation}\"']*"
    )
    return [s for s in map(str.strip, ends.sub(lambda m: m[0] + "\n", text).split("\n")) if s]
