"""Masked language modelling, and whether B follows A where sequences are pairs.

The two losses of BERT (Devlin et al. 2019, section 3.1). T tokens, M of them predicted, B
sequences, W width.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from unmask.contracts import Batch
from unmask.data.masking import Masking, Vocabulary, mask
from unmask.data.packing import Packed
from unmask.model.cross_entropy import Part, cross_entropy
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.tokens import Layout, Tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedObjective:
    """Predict hidden tokens (`mlm`) and tell real pairs from random ones (`nsp`)."""

    name: ClassVar[str] = "masked"
    vocabulary: Vocabulary
    """What masking has to know of the tokenizer."""
    masking: Masking = field(default_factory=Masking)
    """Which tokens are hidden, and how."""

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Batch:
        """Hide tokens of every sequence. All randomness comes from `rng`."""
        masked = mask(packed.ids, packed.cu_seqlens, self.vocabulary, self.masking, rng)
        segments, pairs = packed.segments, packed.labels
        counts = {"mlm": len(masked.rows)}
        if pairs is not None:
            counts["nsp"] = len(pairs)
        tokens = Tokens(
            ids=torch.from_numpy(masked.ids),
            layout=Layout.of(np.diff(packed.cu_seqlens)),
            segments=None if segments is None else torch.from_numpy(segments),
        )
        return Batch(
            tokens=tokens,
            rows=torch.from_numpy(masked.rows),
            labels=torch.from_numpy(masked.labels),
            pairs=None if pairs is None else torch.from_numpy(pairs),
            counts=counts,
        )

    def loss(self, encoder: Transformer, head: Head, batch: Batch) -> dict[str, Part]:
        """Run the model on a batch: `mlm`, and `nsp` where the sequences are pairs."""
        assert head.masked is not None, "this objective needs a head that predicts tokens"
        layout = batch.tokens.layout
        hidden = encoder(batch.tokens)  # (T, W)
        parts = {"mlm": head.masked.loss(hidden.index_select(0, batch.rows), batch.labels)}
        if batch.pairs is not None:
            assert head.pooler is not None, "pairs need a head that pools"
            assert head.pair is not None, "pairs need a head that judges them"
            pooled = head.pooler(hidden, layout.first[: layout.real])  # (real, W)
            parts["nsp"] = cross_entropy(head.pair(pooled), batch.pairs[: layout.real])
        return parts


OBJECTIVE = MaskedObjective
