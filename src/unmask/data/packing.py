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
    """(B,) int64, 0 where B follows A and 1 where it does not; None where sequences are no pairs."""
