"""A text as BERT sees it: tokens, ids, segments, positions, and what masking does to it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from unmask.errors import UserError
from unmask.inspect.masking import RULE, Chosen, choose, plain_table
from unmask.text.sentences import splitter
from unmask.text.tokenizer import Encoded, Tokenizer

LONGEST = 512
"""Tokens that are shown at most, as many as BERT reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A token in its sequence."""

    position: int
    """Its place in the sequence."""
    segment: int
    """By BERT, 0 in `[CLS] A [SEP]`, 1 in `B [SEP]`."""
    token: str
    """The piece of the vocabulary."""
    id: int
    """Its place in the vocabulary."""
    start: int | None
    """Its first character in the text; None for special tokens."""
    end: int | None
    """The character behind its last one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextView:
    """A text with all that is shown of it."""

    text: str
    """As it was given."""
    sentences: Sequence[str]
    """What the sentence splitter makes of it."""
    tokens: Sequence[Token]
    """The sequence: a pair where the text has two sentences or more."""
    masked: Sequence[Chosen]
    """The tokens that masking chose."""
    left_out: int
    """Tokens for which the sequence has no room."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        return asdict(self)

    def __rich__(self) -> Group:
        """Show the sequence as a table, and beside each chosen token what became of it."""
        table = plain_table(
            "position", "segment", "id", "token", "characters", "text", "seen as", "fate"
        )
        fates = {one.position: one for one in self.masked}
        for one in self.tokens:
            fate = fates.get(one.position)
            found = self.text[one.start : one.end] if one.start is not None else ""
            span = f"{one.start}-{one.end}" if one.start is not None else ""
            seen = (fate.seen, fate.fate) if fate else ("", "")
            row = (str(one.position), str(one.segment), str(one.id), one.token, span, found, *seen)
            table.add_row(*row, style="bold" if fate else None)
        return Group(*self._words(), Text(), table, Text(), Text(RULE, style="dim"))

    def _words(self) -> list[Text | Table]:
        """Say what the sequence is."""
        pair = len(self.sentences) > 1
        what = (
            f"{len(self.sentences)} sentences, cut into A and B: a pair as next-sentence prediction"
            " sees it, where B follows A"
            if pair
            else "one sentence. With two, a pair as in next-sentence prediction"
        )
        words: list[Text | Table] = [Text(f"{len(self.tokens)} tokens, {what}")]
        if self.left_out:
            words.append(Text(f"{self.left_out:,} tokens are left out: BERT reads {LONGEST}"))
        return words


def view_text(text: str, tokenizer: Tokenizer, seed: int) -> TextView:
    """Show a text as pre-training would: as a pair where it has two sentences, and masked.

    Raises UserError for a text without a token.
    """
    sentences = splitter("punkt")(text)
    cut = len(text)
    if len(sentences) > 1:
        ahead = int(np.random.default_rng(seed).integers(1, len(sentences)))
        cut = _start(text, sentences, ahead)
    a, b = tokenizer.encode(text[:cut]), tokenizer.encode(text[cut:])
    if not a.ids:
        raise UserError(f"{text!r} has no tokens; give a text with a word in it")
    rooms = _rooms(len(a.ids), len(b.ids), tokenizer)
    first, second = a.ids[: rooms[0]], b.ids[: rooms[1]]
    laid = tokenizer.lay(first, second or None)
    ids = laid.ids.tolist()
    segments = [0] * len(ids) if laid.segments is None else laid.segments.tolist()
    spans: list[tuple[int, int] | None] = [None] * len(ids)
    parts = zip(laid.starts, (_spans(a, 0), _spans(b, cut)), rooms, strict=False)
    for start, found, room in parts:
        spans[start : start + len(found[:room])] = found[:room]
    rows = enumerate(zip(segments, tokenizer.tokens(ids), ids, spans, strict=True))
    return TextView(
        text=text,
        sentences=sentences,
        tokens=[
            Token(
                position=position,
                segment=segment,
                token=token,
                id=number,
                start=span[0] if span else None,
                end=span[1] if span else None,
            )
            for position, (segment, token, number, span) in rows
        ],
        masked=choose(ids, tokenizer, seed),
        left_out=len(a.ids) + len(b.ids) - len(first) - len(second),
    )


def _start(text: str, sentences: Sequence[str], number: int) -> int:
    """Find the character at which a sentence starts."""
    start = 0
    for sentence in sentences[:number]:
        start = text.index(sentence, start) + len(sentence)
    return text.index(sentences[number], start)


def _rooms(a: int, b: int, tokenizer: Tokenizer) -> tuple[int, int]:
    """Share the room of a sequence: the longer side gives way."""
    if not b:
        return tokenizer.room(LONGEST, 1), 0
    room = tokenizer.room(LONGEST, 2)
    shorter = min(a, b, room // 2)
    return (min(a, room - shorter), shorter) if a > b else (shorter, min(b, room - shorter))


def _spans(encoded: Encoded, start: int) -> list[tuple[int, int] | None]:
    return [(start + begin, start + end) for begin, end in encoded.offsets]
