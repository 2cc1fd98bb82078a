"""Attention on the CPU: batched products over groups of sequences of equal length.

Where neighbouring sequences have one length, their queries and keys are batches of matrices as
they lie, and attention is two batched products with a softmax between them: no mask, no padding.
Sequences that share their length with too few neighbours are padded, together with others of like
lengths. The backward pass reads the softmax that the forward pass kept.

T tokens, n sequences of a group, L their length, H heads, D width of a head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unmask import hardware
from unmask.model.dropout import keep
from unmask.model.scores import Term
from unmask.model.view import Ranks, View

ENOUGH = 3
"""Neighbours of equal length that make a group of their own."""
WASTE = 10_000
"""Empty cells of a head's matrices that cost about what another group would."""
CELLS = 800_000
"""Most cells of all heads' matrices in a group of several sequences: about what a core's cache
holds."""
SHORT = 64
"""Rows of a softmax in float32 that are shorter take torch several times as long as oneDNN."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours of equal length."""

    start: int
    """Their first token."""
    count: int
    """n."""
    length: int
    """L."""

    def stack(self, x: Tensor) -> Tensor:
        """Lay the group's tokens out as matrices: (T, H, D) -> (n * H, L, D)."""
        return _heads_first(x.narrow(0, self.start, self.count * self.length), self.length)

    def spread(self, x: Tensor, out: Tensor) -> None:
        """Put matrices (n * H, L, D) back to their tokens in `out` (T, H, D)."""
        rows = out.narrow(0, self.start, self.count * self.length)  # (n * L, H, D)
        rows.view(self.count, self.length, *out.shape[1:]).copy_(_tokens_first(x, self.count))

    def hidden(self, x: Tensor) -> Tensor | None:
        """Give what is added to the logits of matrices x: nothing."""
        return None


@dataclass(frozen=True, slots=True)
class Ragged:
    """Sequences of several lengths, padded with zeros."""

    tokens: Tensor
    """The group's tokens, and"""
    cells: Tensor
    """the cell of each in the padded form."""
    empty: Tensor
    """(n, L) bool, the cells behind the end of a sequence."""

    def stack(self, x: Tensor) -> Tensor:
        """Lay the group's tokens out as matrices: (T, H, D) -> (n * H, L, D)."""
        rows = x.new_zeros(self.empty.numel(), *x.shape[1:])  # (n * L, H, D)
        rows.index_copy_(0, self.cells, x.index_select(0, self.tokens))
        return _heads_first(rows, self.empty.shape[1])

    def spread(self, x: Tensor, out: Tensor) -> None:
        """Put matrices (n * H, L, D) back to their tokens in `out` (T, H, D)."""
        rows = _tokens_first(x, len(self.empty)).flatten(0, 1)  # (n * L, H, D)
        out.index_copy_(0, self.tokens, rows.index_select(0, self.cells))

    def hidden(self, x: Tensor) -> Tensor | None:
        """Give what is added to the logits of matrices x to hide empty keys: (n * H, 1, L)."""
        bias = torch.zeros_like(self.empty, dtype=x.dtype).masked_fill_(self.empty, -math.inf)
        return bias.repeat_interleave(len(x) // len(bias), 0)[:, None]


def _heads_first(rows: Tensor, length: int) -> Tensor:
    matrices = rows.view(-1, length, *rows.shape[1:]).transpose(1, 2)  # (n, H, L, D)
    return matrices.reshape(-1, length, rows.shape[-1])  # (n * H, L, D)


def _tokens_first(x: Tensor, count: int) -> Tensor:
    return x.view(count, -1, *x.shape[1:]).transpose(1, 2)  # (n * H, L, D) -> (n, L, H, D)


@lru_cache(maxsize=16)
def groups(lengths: tuple[int, ...], heads: int) -> tuple[Run | Ragged, ...]:
    """Divide sequences of these lengths, laid end to end, into groups."""
    found: list[Run | Ragged] = []
    rest: list[tuple[int, int]] = []
    start = 0
    for length, same in groupby(lengths):
        count, most = len(list(same)), max(1, CELLS // (heads * length**2))
        if count >= ENOUGH or most == 1:
            for first in range(0, count, most):
                found.append(Run(start + first * length, min(most, count - first), length))
        else:
            rest += [(start + i * length, length) for i in range(count)]
        start += count * length
    return (*found, *map(_group, _alike(rest, heads)))


def _alike(sequences: list[tuple[int, int]], heads: int) -> list[list[tuple[int, int]]]:
    """Divide sequences given as (first token, length) into groups of like lengths."""
    groups: list[list[tuple[int, int]]] = []
    longest = waste = 0
    for start, length in sorted(sequences, key=lambda sequence: -sequence[1]):
        waste += longest**2 - length**2
        full = groups and heads * (len(groups[-1]) + 1) * longest**2 > CELLS
        if not groups or waste > WASTE or full:
            groups.append([])
            longest, waste = length, 0
        groups[-1].append((start, length))
    return groups


def _group(sequences: list[tuple[int, int]]) -> Run | Ragged:
    """Make a group of sequences given as (first token, length)."""
    if len(sequences) == 1:
        ((start, length),) = sequences
        return Run(start, 1, length)
    return _ragged(sequences)


def _ragged(sequences: list[tuple[int, int]]) -> Ragged:
    """Make a group of sequences given as (first token, length)."""
    starts, lengths = torch.tensor(sequences).T  # (n,), (n,)
    places = torch.arange(int(lengths.max()))
    empty = places >= lengths[:, None]  # (n, L)
    tokens = (starts[:, None] + places)[~empty]
    return Ragged(tokens, (~empty).flatten().nonzero().flatten(), empty)


class Grouped:
    """The kernel: self-attention on the CPU."""

    def supports(self, q: Tensor, view: View, dropout: float, terms: Sequence[Term] = ()) -> bool:
        """Tell whether it can run on queries (Q, H, D); it knows no ranks or terms."""
        known = not terms and not isinstance(view.order, Ranks)
        return known and q.device.type == "cpu" and view.q is view.k

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        view: View,
        dropout: float,
        terms: Sequence[Term] = (),
    ) -> Tensor:
        """Attend: q, k and v (T, H, D) -> (T, H, D)."""
        out: Tensor = _Attend.apply(  # type: ignore[no-untyped-call]
            q, k, v, groups(view.q.lengths, q.shape[1]), dropout, view.order is not None
        )
        return out


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        plan: tuple[Run | Ragged, ...],
        dropout: float,
        causal: bool,
    ) -> Tensor:
        """Attend group by group; keeps what each group was made of, and its weights."""
        out = torch.empty_like(q)
        ctx.plan, ctx.scale, ctx.dropout = plan, 1 / math.sqrt(q.shape[-1]), dropout
        saved: list[Tensor] = []
        for group in plan:
            qs, ks, vs = group.stack(q), group.stack(k), group.stack(v)  # (n * H, L, D)
            hidden = _ahead(qs, group.hidden(qs)) if causal else group.hidden(qs)
            logits = _product(qs, ks.mT, ctx.scale, hidden)
            weights = _softmax(logits)  # (n * H, L, L)
            saved += [qs, ks, vs, weights]
            if dropout:
                kept = keep(weights, dropout)
                saved.append(kept)
                weights = weights * kept
            group.spread(weights @ vs, out)
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of queries, keys and values, group by group."""
        to_q, to_k, to_v = (torch.empty(grad.shape, dtype=grad.dtype) for _ in range(3))
        saved = iter(ctx.saved_tensors)
        for group in ctx.plan:
            qs, ks, vs, weights = (next(saved) for _ in range(4))
            slopes = group.stack(grad)  # of the output, (n * H, L, D)
            to_weights = slopes @ vs.mT  # (n * H, L, L)
            if ctx.dropout:
                kept = next(saved)
                to_weights *= kept
                group.spread((weights * kept).mT @ slopes, to_v)
            else:
                group.spread(weights.mT @ slopes, to_v)
            to_logits = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            group.spread(_product(to_logits, ks, ctx.scale), to_q)
            group.spread(_product(to_logits.mT, qs, ctx.scale), to_k)
        return to_q, to_k, to_v, None, None, None


def _softmax(logits: Tensor) -> Tensor:
    """Normalise rows (.., L): by oneDNN, with copies to it and back, where torch's own is slow."""
    slow = logits.dtype == torch.bfloat16 or logits.shape[-1] < SHORT
    if slow and hardware.has_onednn(logits.dtype):
        return logits.to_mkldnn().softmax(-1).to_dense()
    return logits.softmax(-1)


def _ahead(x: Tensor, hidden: Tensor | None) -> Tensor:
    """Give what is added to the logits of matrices x to hide what lies ahead, too: (.., L, L)."""
    ahead = x.new_full((x.shape[1], x.shape[1]), -math.inf).triu_(1)  # (L, L)
    return ahead[None] if hidden is None else hidden + ahead


def _product(a: Tensor, b: Tensor, scale: float, added: Tensor | None = None) -> Tensor:
    """Multiply batches of matrices, scaled, and add to that."""
    if added is None:
        return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)
    return torch.baddbmm(added, a, b, alpha=scale)
