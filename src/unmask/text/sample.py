"""The text that a new vocabulary is made of: its beginning, read in batches, and its characters.

The library's trainers number the characters of a text in the order in which a hash table gives
them, another one in every process, and ties between pairs of pieces are decided by these numbers.
Hence the characters are counted here first, and listed in a fixed order before a trainer starts.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from rich.progress import track

from unmask import console
from unmask.errors import UserError
from unmask.text.reading import expand, read

SAMPLE = 250_000_000
"""Bytes of text that are read at most: the beginning of each file, by its share of the size."""

BATCH = 1 << 20
"""Bytes of text that a trainer gets at once."""

SEEN = 2
"""How often a character or a piece must occur in the text to be listed."""

COVERAGE = 0.9995
"""Share of the text's characters that the listed ones must cover."""

LONGEST_WORD = 100
"""Characters of the longest word that counts: what is longer has no pieces in WordPiece, either."""

_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_LONG_WORD = re.compile(rf"[^\W{_CHINESE}]{{{LONGEST_WORD + 1},}}")


class Sample:
    """Text files, of which at most `SAMPLE` bytes are read, as often as that is asked for.

    Raises UserError when there are no such files, and in reading when one cannot be read.
    """

    def __init__(self, texts: Sequence[str], errors: str) -> None:
        self.files = expand(texts)
        self.size = 0
        """Bytes of text, once its characters are counted."""
        self._named, self._errors = ", ".join(texts), errors

    def batches(self, doing: str) -> Iterator[list[str]]:
        """Give the text, some paragraphs at once, while the console says what is being done."""
        words = console.words()
        hidden = not words.is_terminal
        total = sum(file.size for file in self.files)
        batch: list[str] = []
        size = 0
        for file in track(self.files, doing, console=words, transient=True, disable=hidden):
            share = file.size / max(total, 1) * SAMPLE
            for piece in read(file, self._errors):
                if share <= 0:
                    break
                share -= piece.size
                # A word without end says nothing of a language, and would cost a trainer hours.
                batch.append(_LONG_WORD.sub(" ", piece.text))
                size += piece.size
                if size >= BATCH:
                    yield batch
                    batch, size = [], 0
        yield batch

    def characters(self, clean: Callable[[str], str]) -> Counter[str]:
        """Count the characters as they are after cleaning, white space aside.

        clean: treats each character by itself. Raises UserError when none is left.
        """
        found = np.zeros(sys.maxunicode + 1, dtype=np.int64)
        self.size = 0
        for batch in self.batches("Counting characters"):
            text = "".join(batch)
            self.size += len(text.encode())
            codes = np.bincount(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32))
            found[: codes.size] += codes
        counts: Counter[str] = Counter()
        for code in np.flatnonzero(found):
            for character in "".join(clean(chr(code)).split()):
                counts[character] += int(found[code])
        if not counts:
            raise UserError(f"{self._named}: no text in there. Name files that hold some.")
        return counts


def alphabet(counts: Counter[str], vocab_size: int) -> list[str]:
    """Choose the characters to be listed, by frequency, and order them.

    As many as cover `COVERAGE` of the text, at least a thirtieth of the entries (a thousand
    of 30,000, where the text has them), at most a quarter, for each may take two. What other
    characters are in becomes an unknown piece.
    """
    seen = [character for character, count in counts.items() if count >= SEEN] or list(counts)
    ranked = sorted(seen, key=lambda character: (-counts[character], character))
    covered = np.cumsum([counts[character] for character in ranked])
    enough = int(np.searchsorted(covered, COVERAGE * covered[-1])) + 1
    return sorted(ranked[: min(max(enough, vocab_size // 30), vocab_size // 4)])
