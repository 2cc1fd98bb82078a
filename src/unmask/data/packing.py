"""Packed sequences as numpy arrays, and packing under a token budget.

T tokens laid end to end, B sequences.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LOOKAHEAD = 64
"""How many sequences a batch looks at to fill the room that is left in it."""


@dataclass(frozen=True, slots=True)
class Packed:
    """B token sequences laid end to end: what the data side makes and an objective corrupts."""

    ids: np.ndarray
    """(T,) int64 token ids, special tokens included."""
    cu_seqlens: np.ndarray
    """(B + 1,) int64, starting at 0, ending at T."""
    segments: np.ndarray | None
    """(T,) int64, as the template has them, BERT 0 for text A and 1 for B; None where all are 0."""
    labels: np.ndarray | None
    """(B,) int64, 0 where B follows A, 1 where it does not; None where that is not asked."""
    languages: np.ndarray | None = None
    """(T,) int64, the number of each token's language; None where it is not told."""
    positions: np.ndarray | None = None
    """(T,) int64, the place of each token, where it is not that in its sequence."""


def runs(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Lay runs of consecutive indices end to end: (n,), (n,) -> (sum of sizes,) int64.

    Run i counts from `starts[i]` and has `sizes[i]` indices, so `runs([7, 2], [2, 3])` is
    `[7, 8, 2, 3, 4]`.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    total = int(ends[-1]) if ends.size else 0
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(total)


def cut(
    sizes: np.ndarray,
    left: np.ndarray,
    tokens: int,
    sequences: int | None = None,
    final: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut a series of sequences into batches; yields each with the sequences that are left.

    A batch takes sequences in their order as long as they fit, then, of the next `LOOKAHEAD` ones,
    each that fits into the room left over. It always takes the first one, so none waits for ever.

    sizes: (n,) tokens of each sequence, none above `tokens`, the budget of a batch; left: those not
    in a batch yet, ascending; sequences: how many a batch may hold at most. A batch depends on
    nothing but the sequences that it considers: it ends before one that would look beyond the
    series, unless that is `final`.
    """
    most = sequences or tokens
    while left.size:
        ends = np.cumsum(sizes[left], dtype=np.int64)
        count = min(int(np.searchsorted(ends, tokens, side="right")), most)
        if count + LOOKAHEAD >= left.size and not final:
            return
        chosen, room = list(range(count)), tokens - ends[count - 1]
        near, at = sizes[left[count : count + LOOKAHEAD]], 0
        while len(chosen) < most and (fitting := np.flatnonzero(near[at:] <= room)).size:
            at += int(fitting[0])
            chosen.append(count + at)
            room -= near[at]
            at += 1
        batch, left = left[chosen], np.delete(left, chosen)
        yield batch, left
