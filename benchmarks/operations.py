"""Counts of floating-point operations: those of matrix products, for real tokens alone.

A product of (m, k) and (k, n) takes 2 m k n. Training takes three times what the forward pass does.
"""

from collections.abc import Sequence

import numpy as np


def encoder(lengths: Sequence[int], layers: int, width: int, inner: int) -> float:
    """Count the forward pass of the blocks, over sequences of these lengths."""
    sizes = np.array(lengths, dtype=np.float64)
    linear = 2 * sizes * (4 * width * width + 2 * width * inner)
    attention = 2 * 2 * sizes**2 * width
    return float(layers * (linear + attention).sum())


def pretraining_head(predicted: int, sequences: int, width: int, pieces: int) -> float:
    """Count the forward pass of the head: of the tokens that are predicted, and of the poolers."""
    return 2.0 * width * (predicted * (width + pieces) + sequences * (width + 2))
