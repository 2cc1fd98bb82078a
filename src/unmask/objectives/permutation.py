"""Permutation language modelling: tokens are said in a random order, each by those said before.

XLNet (Yang et al. 2019, sections 2.2 to 2.4). T tokens, M of them predicted, B sequences, W width.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from unmask.contracts import Aim, Batch
from unmask.data.masking import Masking, Vocabulary, choose
from unmask.data.packing import Packed
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.streams import guess
from unmask.model.transformer import Transformer
from unmask.tokens import Layout, moved

LOWEST = 0
"""Rank of the tokens that are not predicted: all may see them, and they see only each other."""


@dataclass(frozen=True, slots=True)
class Permuted(Batch):
    """A batch with the order in which its tokens are said."""

    ranks: Tensor
    """(T,) int64; a token is seen by those of its rank and above."""
    queries: Layout
    """How many tokens of each sequence are predicted."""
    memory: Tensor | None
    """(T,) bool, the tokens of the previous segment; None: there are none."""

    def to(self, device: torch.device) -> "Permuted":
        """Copy everything to a device."""
        return replace(
            Batch.to(self, device),
            ranks=moved(self.ranks, device),
            queries=self.queries.to(device),
            memory=None if self.memory is None else moved(self.memory, device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationObjective:
    """Predict tokens in a random order (`plm`), by an encoder of two streams."""

    name: ClassVar[str] = "permutation"
    tokens: ClassVar[str] = "plm"
    pair: ClassVar[None] = None
    title: ClassVar[str] = "Permutation language modelling"
    vocabulary: Vocabulary
    """Tells special tokens, and where words begin."""
    masking: Masking
    """Which tokens are predicted."""
    memory: int = 0
    """Tokens at the front of each sequence that stand for the previous segment. They are read by
    themselves, and what is learned does not change how."""

    @classmethod
    def of(cls, aim: Aim, vocabulary: Vocabulary) -> "PermutationObjective":
        """Make it as a recipe wants it."""
        return cls(vocabulary=vocabulary, masking=aim.masking, memory=aim.memory)

    @staticmethod
    def head(pair: str | None) -> str:
        """Name the family's head that it needs."""
        return "permutation-lm"

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Permuted:
        """Choose what is predicted, and in which order. All randomness comes from `rng`."""
        bounds = packed.cu_seqlens
        lengths = np.diff(bounds)
        memory = None
        if self.memory:
            place = np.arange(packed.ids.size) - np.repeat(bounds[:-1], lengths)
            # Of short sequences half is left to be predicted.
            memory = place < np.repeat(np.minimum(self.memory, lengths // 2), lengths)
        allowed = None if memory is None else ~memory
        rows = choose(packed.ids, bounds, self.vocabulary, self.masking, rng, allowed)
        rows, labels = self._filled(packed, rows)
        ranks = self._ranks(packed, rows, rng)
        if memory is not None:
            ranks[memory] = LOWEST - 1
        sizes = np.diff(np.searchsorted(rows, bounds))  # (B,)
        plain = Batch.of(packed, packed.ids, rows, labels, self.tokens)
        return Permuted(
            tokens=plain.tokens,
            rows=plain.rows,
            labels=plain.labels,
            pairs=None,
            counts={self.tokens: int((labels >= 0).sum())},
            ranks=torch.from_numpy(ranks),
            queries=Layout.of(sizes),
            memory=None if memory is None else torch.from_numpy(memory),
        )

    def _filled(self, packed: Packed, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add the last token, without a label, of each sequence that has none to be predicted.

        rows: (M,). Returns the rows, ascending, and their labels, (M',) each.
        """
        bounds = packed.cu_seqlens
        fillers = bounds[1:][np.diff(np.searchsorted(rows, bounds)) == 0] - 1
        filled = np.sort(np.concatenate([rows, fillers]))
        return filled, np.where(np.isin(filled, fillers), -1, packed.ids[filled])

    def _ranks(self, packed: Packed, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rank tokens: (T,). Those predicted and the special ones are shuffled within a sequence.

        Where that would be all, the special ones are seen by all.
        """
        lengths = np.diff(packed.cu_seqlens)
        sequence = np.repeat(np.arange(lengths.size), lengths)  # (T,)
        ordered = ~self.vocabulary.is_ordinary[packed.ids]
        ordered[rows] = True
        full = np.bincount(sequence, weights=ordered) == lengths  # (B,)
        if full.any():
            ordered[full[sequence]] = False
            ordered[rows] = True
        shuffled = np.flatnonzero(ordered)
        order = shuffled[np.argsort(sequence[shuffled] + rng.random(shuffled.size))]
        first = np.searchsorted(sequence[order], sequence[order])  # of its sequence in the order
        ranks = np.full(packed.ids.size, LOWEST, dtype=np.int64)
        ranks[order] = LOWEST + 1 + np.arange(order.size) - first
        return ranks

    def loss(self, encoder: Transformer, head: Head, batch: Permuted) -> dict[str, Part]:
        """Run both streams of the model on a batch."""
        assert head.following is not None, "this objective needs a head that predicts what comes"
        hidden = guess(
            encoder, batch.tokens, batch.ranks, batch.rows, batch.queries, batch.memory
        )  # (M, W)
        return {"plm": head.following.loss(hidden, batch.labels)}


OBJECTIVE = PermutationObjective
