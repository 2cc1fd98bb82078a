"""Packed sequences as numpy arrays, and packing under a token budget.

T tokens laid end to end, B sequences.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Packed:
    """B token sequences laid end to end: what the data side makes and an objective corrupts."""

    ids: np.ndarray
    """(T,) int64 token ids, special tokens included."""
    cu_seqlens: np.ndarray
    """(B + 1,) int64, starting at 0, ending at T."""
    segments: np.ndarray | None
    """(T,) int64, 0 for text A and 1 for text B; None where sequences are no pairs."""
    labels: np.ndarray | None
    """(B,) int64, 0 where B follows A, 1 where it does not; None where sequences are no pairs."""


def runs(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Lay runs of consecutive indices end to end: (n,), (n,) -> (sum of sizes,) int64.

    Run i counts from `starts[i]` and has `sizes[i]` indices, so `runs([7, 2], [2, 3])` is
    `[7, 8, 2, 3, 4]`.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    total = int(ends[-1]) if ends.size else 0
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(total)


def cut(sizes: np.ndarray, tokens: int, sequences: int | None = None) -> np.ndarray:
    """Cut a series of sequences into batches: each takes what still fits, in the given order.

    sizes: (n,) tokens of each sequence, none above `tokens`, the budget of a batch; sequences: how
    many it may hold at most. Returns (batches + 1,) int64, where each batch starts and the last one
    ends. Behind that is a rest that might grow if there were more sequences. A batch depends on
    nothing but the sequences from its first one on.
    """
    ends = np.cumsum(sizes, dtype=np.int64)
    stops = np.searchsorted(ends, ends - sizes + tokens, side="right")  # (n,), if one starts here
    if sequences is not None:
        stops = np.minimum(stops, np.arange(len(sizes)) + sequences)
    stop_of, bounds = stops.tolist(), [0]
    while bounds[-1] < len(stop_of) and stop_of[bounds[-1]] < len(stop_of):
        bounds.append(stop_of[bounds[-1]])
    return np.array(bounds)
