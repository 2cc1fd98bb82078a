"""Attention over packed tokens: several ways to compute one thing.

softmax(q k' / sqrt(D)) v, where a query sees the keys of its own sequence; in training, dropout
acts on the softmax (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762). `Reference` says
what is true; the others are faster where they apply and are tested against it.

Q query tokens, K key tokens, B sequences, L the longest, H heads, D width of a head.
"""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.model.view import View


class Kernel(Protocol):
    """One way to compute attention."""

    def supports(self, q: Tensor, view: View, dropout: float) -> bool:
        """Whether this kernel can run on such queries."""
        ...

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, view: View, dropout: float) -> Tensor:
        """Attend: q (Q, H, D), k and v (K, H, D) -> (Q, H, D)."""
        ...


class Reference:
    """Every query against every key of the batch: the definition, for tests."""

    def supports(self, q: Tensor, view: View, dropout: float) -> bool:
        """Always."""
        return True

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, view: View, dropout: float) -> Tensor:
        """Attend: q (Q, H, D), k and v (K, H, D) -> (Q, H, D)."""
        logits = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
        weights = logits.masked_fill(~view.allowed(), float("-inf")).softmax(-1)
        return torch.einsum("hqk,khd->qhd", F.dropout(weights, dropout), v)


KERNELS: tuple[Kernel, ...] = (Reference(),)
"""In order of preference: the first that supports the call runs."""


def choose(kernels: tuple[Kernel, ...], q: Tensor, view: View, dropout: float) -> Kernel:
    """Pick the first kernel that supports these queries (Q, H, D)."""
    return next(kernel for kernel in kernels if kernel.supports(q, view, dropout))
