"""What became of the tokens that masking chose.

T tokens of a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.table import Table

from unmask.data.masking import HIDDEN, REPLACED, Masking, Vocabulary, mask
from unmask.text.tokenizer import Tokenizer

MASKING = Masking()

RULE = (
    f"{MASKING.probability:.0%} of the tokens are to be predicted. {HIDDEN:.0%} of these are hidden"
    f" by [MASK], {REPLACED:.0%} become a random token, the rest is kept."
)
"""How tokens are chosen and hidden, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A token that is to be predicted."""

    position: int
    """Its place in the sequence."""
    token: str
    """What it was."""
    seen: str
    """What the model sees in its place."""
    fate: Literal["hidden", "random", "kept"]
    """How it came to that."""


def choose(ids: Sequence[int], tokenizer: Tokenizer, seed: int) -> list[Chosen]:
    """Mask a sequence of T ids, special tokens included, as pre-training does.

    Where the vocabulary has no mask token, nothing is chosen.
    """
    if tokenizer.mask is None:
        return []
    rng = np.random.default_rng(seed)
    bounds = np.array([0, len(ids)])
    masked = mask(np.array(ids), bounds, Vocabulary.of(tokenizer), MASKING, rng)
    seen = masked.ids[masked.rows]
    names = tokenizer.tokens
    (hidden,) = names([tokenizer.mask])
    return [
        Chosen(position=row, token=was, seen=now, fate=_fate(was, now, hidden))
        for row, was, now in zip(
            masked.rows.tolist(), names(masked.labels.tolist()), names(seen.tolist()), strict=True
        )
    ]


def tabulate(chosen: Sequence[Chosen]) -> Table:
    """Show chosen tokens one a row."""
    table = plain_table("position", "token", "seen as", "fate")
    for one in chosen:
        table.add_row(str(one.position), one.token, one.seen, one.fate)
    return table


def plain_table(*columns: str) -> Table:
    """Make a table without lines; the first column holds numbers."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number else "right", overflow="fold")
    return table


def _fate(was: str, now: str, mask: str) -> Literal["hidden", "random", "kept"]:
    if now == mask:
        return "hidden"
    return "kept" if now == was else "random"
