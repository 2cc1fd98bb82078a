"""Every protocol between the folders, on one page.

T tokens of a batch, B sequences, M predicted tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from unmask.data.packing import Packed
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.names import Names
from unmask.model.network import Network
from unmask.model.spec import Spec
from unmask.model.transformer import Transformer
from unmask.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed tokens with what is to be predicted of them."""

    tokens: Tokens
    rows: Tensor
    """(M,) int64, the tokens to be predicted."""
    labels: Tensor
    """(M,) int64, their ids; below zero: a filler that counts for nothing."""
    pairs: Tensor | None
    """(B,) int64, 0 where B follows A, else 1; None where sequences are no pairs."""
    counts: Mapping[str, int]
    """Terms of each loss, known before the step."""

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """Copy everything to a device."""
        return replace(
            self,
            tokens=self.tokens.to(device, non_blocking),
            rows=self.rows.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device, non_blocking=non_blocking),
            pairs=None if self.pairs is None else self.pairs.to(device, non_blocking=non_blocking),
        )


class Objective(Protocol):
    """What a model is pre-trained to do."""

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Batch:
        """Hide what is to be predicted. All randomness comes from `rng`."""
        ...

    def loss(self, encoder: Transformer, head: Head, batch: Batch) -> dict[str, Part]:
        """Run the model on a batch: one part a loss, under the names of `batch.counts`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSpec:
    """One kind of checkpoint of a family: the encoder with a certain head."""

    architecture: str
    """The class that `transformers` opens it with."""
    build: Callable[[Spec, nn.Embedding, int], Head]
    """Makes the head; a tied decoder gets the embedding of the pieces, a classifier the number of
    labels."""
    prefixed: bool = True
    """Whether the encoder's tensors are named with the family's prefix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family of models as data: a file of `families/` ends with one."""

    name: str
    """`model_type` in a config.json."""
    spec: Callable[[Mapping[str, Any]], Spec]
    """From a config.json to our structure; raises UserError for what is not supported."""
    config: Callable[[Spec], dict[str, Any]]
    """From our structure to a config.json."""
    names: Names
    """Of the tensors, with the prefix."""
    prefix: str
    """What the encoder's tensors begin with where it is part of a larger model."""
    copies: tuple[str, ...]
    """Tensors that a checkpoint may hold beside, because they follow from others."""
    heads: Mapping[str, HeadSpec]
    """By name, the largest first: a checkpoint is read as the first that it has all tensors of."""

    def network(self, spec: Spec, head: str, labels: int = 0) -> Network:
        """Build an encoder with a head; its weights are not those of any training yet.

        labels: how many a classifier tells apart.
        """
        encoder = Transformer(spec)
        return Network(encoder, self.heads[head].build(spec, encoder.embeddings.piece, labels))
