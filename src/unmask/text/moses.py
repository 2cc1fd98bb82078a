"""Words as the tools of Moses (Koehn et al. 2007) find them, and where they stand in the text.

The rules are those of its port to Python, sacremoses: punctuation is brought to a few forms, words
and marks are set apart, with exceptions for abbreviations that each language has of its own. XLM
and FlauBERT prepare text this way, each with a step more.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from unmask.errors import UserError
from unmask.registry import late

_LINES = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
_ANOTHER_WAY = ("zh", "ja", "th")
_REACH = 12  # characters at most by which a text and its words are out of step


@dataclass(frozen=True, slots=True)
class Moses:
    """A way to cut text into words."""

    form: Literal["xlm", "flaubert"] = "xlm"
    """Whose: FlauBERT unites accents with their letters and two single quotation marks to one."""
    language: str = "en"
    """Of the text, as two letters."""
    lower: bool = True
    """Whether text is put in lower case, by XLM without accents."""

    def __post_init__(self) -> None:
        """Refuse languages that need other tools."""
        if self.language in _ANOTHER_WAY:
            raise UserError(
                f"language {self.language!r}: its words are not found by Moses, but by a tool that"
                " is not supported; take a model with another kind of tokenizer"
            )

    def normal(self, text: str) -> str:
        """Bring characters and punctuation to the forms that words are made of."""
        text = _LINES.sub(" ", text)
        if self.form == "flaubert":
            text = unicodedata.normalize("NFC", text.replace("``", '"').replace("''", '"'))
            text = text.lower() if self.lower else text
        text = _tools(self.language)[0].normalize(text)
        if not text.isprintable():
            text = "".join(one for one in text if unicodedata.category(one)[0] != "C")
        if self.language == "ro":
            text = text.translate(_ROMANIAN)
        return text

    def plain(self, text: str) -> str:
        """Give text that is cut already without what is not kept of it."""
        if self.form == "flaubert" or not self.lower:
            return text
        if text.isascii():
            return text.lower()
        parts = unicodedata.normalize("NFD", text.lower())
        return "".join(one for one in parts if unicodedata.category(one) != "Mn").lower()

    def words(self, text: str) -> list[str]:
        """Find the words and marks of a text."""
        found = _tools(self.language)[1].tokenize(self.normal(text), return_str=False, escape=False)
        return [word for word in self.plain(" ".join(found)).split(" ") if word]


_ROMANIAN = str.maketrans("ŞşŢţȘșȚțĂăÂâÎî", "SsTtSsTtAaAaIi")


@cache
def _tools(language: str) -> tuple[Any, Any]:
    """Load what normalises punctuation, and what finds words."""
    moses = late("sacremoses")
    normalizer = moses.MosesPunctNormalizer(lang=language, pre_replace_unicode_punct=True)
    tokenizer = moses.MosesTokenizer(lang=language)
    # Its own two tests make a set of all letters each time, which takes nearly all of its time.
    lower, letters = frozenset(tokenizer.IsLower), frozenset(tokenizer.IsAlpha)
    tokenizer.islower = lower.issuperset
    tokenizer.isanyalpha = lambda text: not letters.isdisjoint(text)
    return normalizer, tokenizer


def align(text: str, made: str) -> list[tuple[int, int]]:
    """Find the characters of a text that each character of what was made of it stands for.

    made: the words, without blanks. Case and accents do not matter; where characters differ
    otherwise, what is between two places that agree belongs together.
    """
    places = [place for place, one in enumerate(text) if not one.isspace()]
    source, target = [_bare(text[place]) for place in places], [_bare(one) for one in made]
    spans: list[tuple[int, int]] = []
    i = j = 0
    while j < len(target):
        skip, take = 1, 1
        if source[i : i + 1] != target[j : j + 1]:
            skip, take = _agree(source[i : i + _REACH + 1], target[j : j + _REACH + 1])
        own = places[i : i + skip] or places[max(0, i - 1) : i] or [0]
        spans += [(own[0], own[-1] + 1)] * take
        i, j = i + skip, j + take
    return spans


def _agree(source: Sequence[str], target: Sequence[str]) -> tuple[int, int]:
    """Find how few characters of two texts to leave behind, so that the next ones agree."""
    for total in range(1, _REACH + 1):
        for take in range(total + 1):
            skip = total - take
            inside = skip <= len(source) and take <= len(target)
            if inside and source[skip : skip + 1] == target[take : take + 1]:
                return skip, take
    return 1, 1


@cache
def _bare(character: str) -> str:
    """Give a character without case and accents."""
    return unicodedata.normalize("NFKD", character)[0].lower()
