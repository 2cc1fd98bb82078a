"""Causal language modelling: each token is predicted by those before it (Radford et al. 2019).

T tokens, M of them predicted: all but the first of each sequence; B sequences, W width.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unmask.contracts import Aim, Batch
from unmask.data.masking import Vocabulary
from unmask.data.packing import Packed
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.transformer import Transformer


@dataclass(frozen=True, kw_only=True, slots=True)
class CausalObjective:
    """Predict the next token (`clm`); the encoder must be one that sees none behind."""

    name: ClassVar[str] = "causal"
    tokens: ClassVar[str] = "clm"
    pair: ClassVar[None] = None
    title: ClassVar[str] = "Causal language modelling"

    @classmethod
    def of(cls, aim: Aim, vocabulary: Vocabulary) -> "CausalObjective":
        """Make it; there is nothing to choose."""
        return cls()

    @staticmethod
    def head(pair: str | None) -> str:
        """Name the family's head that it needs."""
        return "causal-lm"

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Batch:
        """Take the next token of each as its label; nothing is random about that."""
        last = np.zeros(packed.ids.size, dtype=bool)
        last[packed.cu_seqlens[1:] - 1] = True
        rows = np.flatnonzero(~last)
        return Batch.of(packed, packed.ids, rows, packed.ids[rows + 1], self.tokens)

    def loss(self, encoder: Transformer, head: Head, batch: Batch) -> dict[str, Part]:
        """Run the model on a batch."""
        assert head.following is not None, "this objective needs a head that predicts what comes"
        hidden = encoder(batch.tokens)  # (T, W)
        return {"clm": head.following.loss(hidden.index_select(0, batch.rows), batch.labels)}


OBJECTIVE = CausalObjective
