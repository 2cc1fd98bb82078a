"""Attention on the CPU: batched products over groups of sequences of equal length.

Where many sequences have one length, their queries and keys are batches of matrices as they lie,
and attention is two batched products with a softmax between them: no mask, no padding. The few
sequences that share their length with no others are padded into one last group. It has its own
backward pass, which reads the softmax that the forward pass kept.

T tokens, B sequences, n sequences of a group, L their length, H heads, D width of a head.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unmask.model.view import View

ENOUGH = 3
"""Neighbours of equal length that make a group of their own."""


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences that are multiplied together."""

    count: int
    """n."""
    length: int
    """L."""
    start: int
    """The first token, where the sequences stand together and have one length."""
    cells: Tensor | None = None
    """(n * L,) the token behind each cell, where they do not."""
    empty: Tensor | None = None
    """(n, L) bool, the cells behind the end of a sequence."""
    tokens: Tensor | None = None
    """The tokens of the group, and"""
    places: Tensor | None = None
    """the cell of each."""

    def heads_first(self, x: Tensor) -> Tensor:
        """Lay tokens out as matrices: (T, H, D) -> (n * H, L, D)."""
        if self.cells is None:
            rows = x.narrow(0, self.start, self.count * self.length)
        else:
            rows = x.index_select(0, self.cells)
        shape = (self.count, self.length, *x.shape[1:])
        return rows.view(shape).transpose(1, 2).reshape(-1, self.length, x.shape[2])

    def tokens_first(self, x: Tensor, out: Tensor) -> None:
        """Put matrices back to their tokens: (n * H, L, D) into `out` (T, H, D)."""
        rows = x.view(self.count, -1, *x.shape[1:]).transpose(1, 2)  # (n, L, H, D)
        if self.cells is None:
            size = self.count * self.length
            out.narrow(0, self.start, size).view(rows.shape).copy_(rows)
        else:
            out[self.tokens] = rows.reshape(-1, *out.shape[1:]).index_select(0, self.places)


@lru_cache(maxsize=16)
def groups(lengths: tuple[int, ...]) -> tuple[Group, ...]:
    """Divide sequences of these lengths, laid end to end, into groups."""
    found, rest = [], []
    start = 0
    for length, same in groupby(lengths):
        count = len(list(same))
        if count >= ENOUGH:
            found.append(Group(count, length, start))
        else:
            rest += [(start + i * length, length) for i in range(count)]
        start += count * length
    if rest:
        found.append(_padded(rest))
    return tuple(found)


def _padded(rest: list[tuple[int, int]]) -> Group:
    """Make a group of sequences given as (first token, length)."""
    starts, lengths = torch.tensor(rest).T  # (n,), (n,)
    longest = int(lengths.max())
    place = torch.arange(longest)
    empty = place >= lengths[:, None]  # (n, L)
    cells = torch.where(empty, starts[:, None], starts[:, None] + place).flatten()  # (n * L,)
    places = (~empty).flatten().nonzero().flatten()
    return Group(len(rest), longest, 0, cells, empty, cells[places], places)


class Grouped:
    """The kernel."""

    def supports(self, q: Tensor, view: View, dropout: float) -> bool:
        """Tell whether it can run: for self-attention on the CPU."""
        return q.device.type == "cpu" and view.q is view.k

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, view: View, dropout: float) -> Tensor:
        """Attend: q, k and v (T, H, D) -> (T, H, D)."""
        out: Tensor = _Attend.apply(q, k, v, groups(view.q.lengths), dropout)
        return out


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: tuple[Group, ...], dropout: float
    ) -> Tensor:
        out = torch.empty_like(q)
        ctx.plan, ctx.scale, ctx.kept = plan, 1 / math.sqrt(q.shape[-1]), 1 - dropout
        saved: list[Tensor] = []
        for group in plan:
            qs, ks, vs = (group.heads_first(x) for x in (q, k, v))  # (n * H, L, D)
            logits = torch.baddbmm(
                _bias(group, qs),
                qs,
                ks.mT,
                alpha=ctx.scale,
                beta=1 if group.empty is not None else 0,
            )
            weights = logits.softmax(-1)  # (n * H, L, L)
            saved += [qs, ks, vs, weights]
            if dropout:
                keep = torch.empty_like(weights).bernoulli_(ctx.kept).div_(ctx.kept)
                saved.append(keep)
                weights = weights * keep
            group.tokens_first(weights @ vs, out)
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = [torch.empty_like(grad, memory_format=torch.contiguous_format) for _ in range(3)]
        saved = iter(ctx.saved_tensors)
        for group in ctx.plan:
            qs, ks, vs, weights = (next(saved) for _ in range(4))
            keep = next(saved) if ctx.kept < 1 else None
            out = group.heads_first(grad)  # (n * H, L, D)
            if group.empty is not None:
                h = out.shape[0] // group.count
                out.view(group.count, h, *out.shape[1:]).masked_fill_(
                    group.empty[:, None, :, None], 0
                )
            slope = out @ vs.mT  # of the weights, (n * H, L, L)
            dropped = weights
            if keep is not None:
                slope *= keep
                dropped = weights * keep
            group.tokens_first(dropped.mT @ out, grads[2])
            slope = torch.ops.aten._softmax_backward_data(slope, weights, -1, weights.dtype)
            group.tokens_first(
                torch.baddbmm(slope.new_zeros(()), slope, ks, alpha=ctx.scale, beta=0), grads[0]
            )
            group.tokens_first(
                torch.baddbmm(slope.new_zeros(()), slope.mT, qs, alpha=ctx.scale, beta=0), grads[1]
            )
        return *grads, None, None


def _bias(group: Group, q: Tensor) -> Tensor:
    """Give what hides empty cells, to be added to the logits: () or (n * H, 1, L)."""
    zero = q.new_zeros(())
    if group.empty is None:
        return zero
    hidden = q.new_zeros(group.empty.shape).masked_fill_(group.empty, float("-inf"))  # (n, L)
    return hidden.repeat_interleave(q.shape[0] // group.count, 0)[:, None]  # (n * H, 1, L)
