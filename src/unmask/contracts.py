"""Every protocol between the folders, on one page.

T tokens of a batch, B sequences, W model width, M predicted tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from unmask.data.packing import Packed
from unmask.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed tokens with what is to be predicted of them."""

    tokens: Tokens
    rows: Tensor
    """(M,) int64, the tokens to be predicted."""
    labels: Tensor
    """(M,) int64, their ids."""
    pairs: Tensor | None
    """(B,) int64, 0 where B follows A and 1 where it does not; None where sequences are no pairs."""
    counts: Mapping[str, int]
    """Terms of each loss, known before the step."""


@dataclass(frozen=True, slots=True)
class Part:
    """One loss, as a sum: it is divided once, by its count over all ranks and accumulated steps."""

    total: Tensor
    """Scalar float32."""
    correct: Tensor
    """Scalar int64: how many predictions were right."""


class Objective(Protocol):
    """What a model is pre-trained to do."""

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Batch:
        """Hide what is to be predicted. All randomness comes from `rng`."""
        ...

    def loss(self, encoder: nn.Module, head: nn.Module, batch: Batch) -> dict[str, Part]:
        """Run the model on a batch: one part a loss, under the names of `batch.counts`."""
        ...
