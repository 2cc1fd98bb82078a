"""Batches without a corpus: random tokens in sequences as long as sentence pairs of novels are.

T tokens of a batch.
"""

import numpy as np

from unmask.contracts import Batch
from unmask.data.masking import Vocabulary
from unmask.data.packing import Packed
from unmask.objectives.masked import MaskedObjective
from unmask.text.template import BERT

FULL = {128: 0.90, 512: 0.80}
"""Share of the sequences that have the full length, as in an epoch of the novels."""
SHORTEST = 48
"""The others are spread evenly from here on: so many tokens, or a third of the length."""
SPECIAL = 5
"""Ids of special tokens, the first ones."""


def objective(pieces: int) -> MaskedObjective:
    """Mask tokens of a vocabulary of so many, and ask about pairs."""
    vocabulary = Vocabulary(
        ids={"cls": 2, "sep": 3, "mask": 4},
        template=BERT,
        special=np.arange(SPECIAL),
        continues=np.zeros(pieces, dtype=bool),
    )
    return MaskedObjective(vocabulary=vocabulary, pair="nsp")


def lengths(length: int, tokens: int) -> np.ndarray:
    """Draw lengths that fit into a batch of so many tokens, the same ones each time; ascending."""
    rng = np.random.default_rng(0)
    shortest, full = min(SHORTEST, length // 3), FULL.get(length, FULL[128])
    drawn = np.where(rng.random(tokens) < full, length, rng.integers(shortest, length, size=tokens))
    return np.sort(drawn[: np.searchsorted(drawn.cumsum(), tokens, side="right")])


def batch(aim: MaskedObjective, sizes: np.ndarray, seed: int) -> Batch:
    """Make a batch of random tokens in sequences of these lengths, masked."""
    rng = np.random.default_rng(seed)
    total = int(sizes.sum())
    packed = Packed(
        ids=rng.integers(SPECIAL, aim.vocabulary.continues.size, total),  # (T,)
        cu_seqlens=np.concatenate([[0], sizes.cumsum()]),
        segments=rng.integers(0, 2, total),
        labels=rng.integers(0, 2, len(sizes)),
    )
    return aim.corrupt(packed, rng)
