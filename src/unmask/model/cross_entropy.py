"""Cross-entropy, by itself and of a large linear layer without its logits in float32.

M predictions, W width, V classes, B groups of scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unmask.tokens import Layout, moved

ROWS = {"cpu": 32, "cuda": 4096}
"""Rows that are turned from logits into gradients at a time, by device: few enough to stay in the
CPU's cache, enough to keep a GPU busy."""


@dataclass(frozen=True, slots=True)
class Part:
    """One loss, as a sum: it is divided once, by its count over all ranks and accumulated steps."""

    total: Tensor
    """Sum of the cross-entropies, a float32 scalar."""
    correct: Tensor | None
    """How many labels had the highest score, a scalar; None where there are no scores."""
    weight: float = 1.0
    """By which its mean counts among the losses."""


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0
) -> Part:
    """Score logits (M, V) against labels (M,); labels below zero count for nothing.

    weights: (V,) how much a prediction counts, by its label; 1 each where absent. smoothing: the
    share of a label's probability that is spread over all V (https://arxiv.org/abs/1512.00567).
    """
    total = F.cross_entropy(
        logits.float(),
        labels.clamp(min=-1),
        weights,
        ignore_index=-1,
        reduction="sum",
        label_smoothing=smoothing,
    )
    right = logits.detach().argmax(-1) == labels
    return Part(total, (right if weights is None else weights[labels.clamp(min=0)] * right).sum())


def grouped_cross_entropy(scores: Tensor, sizes: Sequence[int], targets: Tensor) -> Part:
    """Let neighbouring scores compete: one softmax for each of B groups of `sizes`.

    scores: (M,), the groups laid end to end. targets: (B,) int64, which of its group's scores each
    label is, counted from 0; below zero it counts for nothing.
    """
    layout = Layout.of(sizes)
    cells = moved(layout.unpad_index, scores.device)  # (M,)
    blank = scores.new_full((len(sizes) * layout.max_seqlen,), -torch.inf)
    padded = blank.index_copy(0, cells, scores).view(len(sizes), -1)  # (M,) -> (B, L)
    return cross_entropy(padded, targets)


def linear_cross_entropy(
    x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float = 0.0
) -> Part:
    """Score x (M, W) through a layer of weight (V, W) and bias (V,) against labels (M,).

    It is `cross_entropy` of the layer's output, but for the gradient it keeps that output in the
    type of the products, and in its place the gradient with respect to it. In training, a label
    that shares the highest score counts as correct: to look for the first one would take as long
    as the softmax.
    """
    if not torch.is_grad_enabled():
        return cross_entropy(F.linear(x, weight, bias), labels, smoothing=smoothing)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    total, correct = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        x.to(dtype), weight, bias, labels, smoothing
    )
    return Part(total, correct)


class _LinearCrossEntropy(torch.autograd.Function):
    """Forward makes the gradient of the logits in their own place; backward multiplies it out."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Give the sum of the losses and how many were right; logits become their gradient."""
        narrow = weight.to(x.dtype)
        logits = F.linear(x, narrow, None if bias is None else bias.to(x.dtype))  # (M, V)
        exact = torch.promote_types(x.dtype, torch.float32)
        total = torch.zeros((), dtype=exact, device=x.device)
        correct = torch.zeros((), dtype=torch.int64, device=x.device)
        count = ROWS.get(x.device.type, len(x))
        for rows, target in zip(
            torch.split(logits, count), torch.split(labels, count), strict=True
        ):
            counts = (target >= 0)[:, None]  # (R, 1), false for fillers
            target = target.clamp(min=0)[:, None]
            own, highest = rows.gather(1, target), rows.amax(1, keepdim=True)  # (R, 1)
            shares = rows.softmax(1, dtype=exact)  # (R, V)
            # The highest share is never so small that its logarithm is infinite.
            losses = highest.to(exact) - own.to(exact) - shares.amax(1, keepdim=True).log()
            if smoothing:
                losses += smoothing * (own.to(exact) - rows.mean(1, keepdim=True, dtype=exact))
                shares -= smoothing / len(weight)
            total += losses.masked_fill(~counts, 0).sum()
            correct += ((own == highest) & counts).sum()
            shares.scatter_add_(1, target, shares.new_full(target.shape, smoothing - 1))
            rows.copy_(shares)
        ctx.save_for_backward(x, narrow, logits, labels)
        ctx.dtype = weight.dtype
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply the kept gradient of the logits out to states, weight and bias."""
        x, weight, slopes, labels = ctx.saved_tensors  # (M, W), (V, W), (M, V), (M,)
        scales = (scale * (labels >= 0)).to(x.dtype)[:, None]  # (M, 1), zero for fillers
        to_x = (slopes @ weight) * scales  # (M, W)
        to_weight = slopes.mT @ (x * scales)  # (V, W)
        if not ctx.needs_input_grad[2]:
            return to_x, to_weight.to(ctx.dtype), None, None, None
        to_bias = scales.mT @ slopes  # (1, V)
        return to_x, to_weight.to(ctx.dtype), to_bias[0].to(ctx.dtype), None, None
