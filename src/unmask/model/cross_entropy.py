"""Cross-entropy of a linear layer.

M predictions, W width, V classes.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Part:
    """One loss, as a sum: it is divided once, by its count over all ranks and accumulated steps."""

    total: Tensor
    """Sum of the cross-entropies, a float32 scalar."""
    correct: Tensor
    """How many labels had the highest score, an int64 scalar."""


def linear_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Part:
    """Score x (M, W) through a layer of weight (V, W) and bias (V,) against labels (M,)."""
    return cross_entropy(F.linear(x, weight, bias), labels)


def cross_entropy(logits: Tensor, labels: Tensor) -> Part:
    """Score logits (M, V) against labels (M,); labels below zero count for nothing."""
    total = F.cross_entropy(logits.float(), labels.clamp(min=-1), ignore_index=-1, reduction="sum")
    return Part(total, (logits.detach().argmax(-1) == labels).sum())
