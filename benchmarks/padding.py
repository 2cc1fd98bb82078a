"""Packed batches laid out as rows, as transformers reads them.

B sequences of a batch, L tokens of the longest, T tokens of all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

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


def joined(every: Sequence[Rows]) -> Rows:
    """Put the rows of several batches under each other, filled up to the longest of all."""
    longest = max(one["input_ids"].shape[1] for one in every)

    def widened(name: str, values: Tensor) -> Tensor:
        if values.ndim == 1:
            return values
        blank = -100 if name == "labels" else 0
        return pad(values, (0, longest - values.shape[1]), value=blank)

    return {name: torch.cat([widened(name, one[name]) for one in every]) for name in every[0]}


def divided(filled: Rows, size: int, sort: bool, generator: torch.Generator) -> list[Rows]:
    """Cut rows into equal parts of about so many, each cut off behind its longest sequence.

    They are drawn in random order, or sorted by length.
    """
    sizes = filled["attention_mask"].sum(1)
    order = torch.randperm(len(sizes), generator=generator)
    if sort:
        order = sizes.argsort(descending=True)
    found = []
    for drawn in order.tensor_split(max(1, round(len(sizes) / size))):
        longest = int(sizes[drawn].max())
        found.append(
            {
                name: values[drawn] if values.ndim == 1 else values[drawn, :longest]
                for name, values in filled.items()
            }
        )
    return found
