"""Text cut into sentences, the units of next-sentence prediction."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import nupunkt
import regex  # type: ignore[import-untyped]

Splitter = Callable[[str], list[str]]
"""A paragraph to its sentences: in order, none empty, without white space around them."""

LONGEST_RUN = 1000
"""Characters without white space that nupunkt gets at most: its time grows with their square."""

_LONG_RUN = re.compile(rf"(\S{{{LONGEST_RUN + 1},}})")

_SENTENCE_END = regex.compile(
    r"""(?: \p{SB=STerm}                      # one of ! ? 。 । ؟ and their like
          | \p{SB=ATerm}                      # or a full stop, which is ambiguous:
            (?! \p{SB=Numeric})               # 3.14 goes on (rule SB6)
            (?! (?<= [\p{SB=Upper}\p{SB=Lower}] .) \p{SB=Upper})     # U.S. too (SB7)
            (?! [\p{SB=Close}\p{SB=Sp}]*+                            # and what a small letter
                [^\p{SB=OLetter}\p{SB=Upper}\p{SB=Lower}\p{SB=Sep}\p{SB=CR}\p{SB=LF}
                  \p{SB=STerm}\p{SB=ATerm}]*+ \p{SB=Lower})          # follows (SB8)
        )
        (?: [\p{SB=Close}\p{SB=Extend}\p{SB=Format}--\p{Ps}--\p{Pi}] # closing quotes (SB9), not
          | [\p{Ps}\p{Pi}] (?= \s | \Z) )*+   # those that open what is glued to them (our own rule)
        \p{SB=Sp}*+                                                 # and spaces (SB10)
        (?! [\p{SB=SContinue}\p{SB=STerm}\p{SB=ATerm}])              # no comma, no ?! (SB8a)
    """,
    regex.VERBOSE | regex.DOTALL | regex.V1,
)


def splitter(kind: Literal["punkt", "unicode", "lines"]) -> Splitter:
    """Give the function that cuts a paragraph into sentences.

    `punkt` knows the abbreviations of English (Kiss and Strunk 2006, as nupunkt has it); `unicode`
    follows the rules of Unicode (annex 29, "Sentence Boundaries"), for the languages whose
    terminators punkt does not know; `lines` takes a line for a sentence.
    """
    return {"punkt": _punkt, "unicode": _unicode, "lines": _lines}[kind]


def _punkt(text: str) -> list[str]:
    tokenizer = nupunkt.load("default")  # comes with the package; loaded once in a process
    if len(text) <= LONGEST_RUN:
        return _filled(tokenizer.tokenize(text))
    sentences: list[str] = []
    for number, part in enumerate(_LONG_RUN.split(text)):
        # The odd parts are the runs themselves.
        sentences += [part] if number % 2 else tokenizer.tokenize(part)
    return _filled(sentences)


def _unicode(text: str) -> list[str]:
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return _filled([text[start:end] for start, end in pairwise(ends)])


def _lines(text: str) -> list[str]:
    return _filled(text.split("\n"))


def _filled(sentences: list[str]) -> list[str]:
    return [stripped for sentence in sentences if (stripped := sentence.strip())]
