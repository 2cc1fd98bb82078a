"""Masked language modelling, and a question about each pair of texts where it is asked.

The two losses of BERT (Devlin et al. 2019, section 3.1), of which RoBERTa has the first; ALBERT
asks about the order instead. T tokens, M of them predicted, B sequences, W width.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from unmask.contracts import Aim, Batch, Question
from unmask.data.masking import Masking, Vocabulary, mask
from unmask.data.packing import Packed
from unmask.model.cross_entropy import Part, cross_entropy
from unmask.model.heads import Head
from unmask.model.transformer import Transformer


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedObjective:
    """Predict hidden tokens (`mlm`), and tell real pairs from others (`nsp` or `sop`)."""

    name: ClassVar[str] = "masked"
    tokens: ClassVar[str] = "mlm"
    title: ClassVar[str] = "Masked language modelling"
    vocabulary: Vocabulary
    """What masking has to know of the tokenizer."""
    masking: Masking = field(default_factory=Masking)
    """Which tokens are hidden, and how."""
    pair: Question | None = None
    """Whether B follows A, whether it does not come before it, or nothing is asked about pairs."""

    @classmethod
    def of(cls, aim: Aim, vocabulary: Vocabulary) -> "MaskedObjective":
        """Make it as a recipe wants it."""
        return cls(vocabulary=vocabulary, masking=aim.masking, pair=aim.pair)

    @staticmethod
    def head(pair: str | None) -> str:
        """Name the family's head that it needs; pair: what is asked about pairs."""
        return "masked-lm" if pair is None else "pretraining"

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Batch:
        """Hide tokens of every sequence. All randomness comes from `rng`."""
        masked = mask(packed.ids, packed.cu_seqlens, self.vocabulary, self.masking, rng)
        return Batch.of(packed, masked.ids, masked.rows, masked.labels, self.tokens, self.pair)

    def loss(self, encoder: Transformer, head: Head, batch: Batch) -> dict[str, Part]:
        """Run the model on a batch: `mlm`, and that of the pairs where they are asked about."""
        assert head.masked is not None, "this objective needs a head that predicts tokens"
        layout = batch.tokens.layout
        hidden = encoder(batch.tokens)  # (T, W)
        parts = {"mlm": head.masked.loss(hidden.index_select(0, batch.rows), batch.labels)}
        if batch.pairs is not None:
            assert self.pair is not None, "the batch was made by this objective"
            assert head.pooler is not None, "pairs need a head that pools"
            assert head.pair is not None, "pairs need a head that judges them"
            pooled = head.pooler(hidden, layout.first[: layout.real])  # (real, W)
            parts[self.pair] = cross_entropy(head.pair(pooled), batch.pairs[: layout.real])
        return parts


OBJECTIVE = MaskedObjective
