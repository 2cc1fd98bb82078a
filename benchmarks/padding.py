"""Packed batches laid out as rows, as transformers reads them.

B sequences of a batch, L tokens of the longest, T tokens of all.
"""

import torch
from torch import Tensor

from unmask.contracts import Batch

Rows = dict[str, Tensor]
"""A batch as `BertForPreTraining` is called with it."""


def rows(batch: Batch) -> Rows:
    """Lay a batch out as rows, filled up to its longest sequence: each of the fields (B, L)."""
    layout, pairs = batch.tokens.layout, batch.pairs
    assert pairs is not None, "the objective asks about pairs"
    cells, shape = layout.unpad_index, (len(layout.lengths), layout.max_seqlen)  # (T,)

    def filled(values: Tensor, where: Tensor, otherwise: int) -> Tensor:
        blank = torch.full((shape[0] * shape[1],), otherwise)
        return blank.index_copy_(0, where, values).view(shape)

    segments = batch.tokens.segments
    return {
        "input_ids": filled(batch.tokens.ids, cells, 0),
        "attention_mask": filled(torch.ones_like(cells), cells, 0),
        "token_type_ids": filled(
            torch.zeros_like(cells) if segments is None else segments, cells, 0
        ),
        "labels": filled(batch.labels, cells[batch.rows], -100),
        "next_sentence_label": pairs,
    }


def divided(filled: Rows, size: int, generator: torch.Generator) -> list[Rows]:
    """Draw batches of so many rows in random order, each cut off behind its longest sequence."""
    found = []
    for drawn in torch.randperm(len(filled["input_ids"]), generator=generator).split(size):
        longest = int(filled["attention_mask"][drawn].sum(1).max())
        found.append(
            {
                name: values[drawn] if values.ndim == 1 else values[drawn, :longest]
                for name, values in filled.items()
            }
        )
    return found
