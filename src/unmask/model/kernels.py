"""Attention over packed tokens: several ways to compute one thing.

softmax((q k' + terms) / sqrt(D)) v, where a query sees those keys that the view lets it see; in
training, dropout acts on the softmax (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762).
`Reference` says what is true; the others are faster where they apply and are tested against it.

Q query tokens, K key tokens, or rows where keys lie in slots of C, B sequences, L the longest, H
heads, D width of a head.
"""

import importlib
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unmask.model.dropout import drop
from unmask.model.grouped import Grouped
from unmask.model.scores import Term
from unmask.model.view import Causal, Ranks, View
from unmask.tokens import Layout

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """One way to compute attention."""

    def supports(self, q: Tensor, view: View, dropout: float, terms: Sequence[Term] = ()) -> bool:
        """Whether this kernel can run on such queries (Q, H, D)."""
        ...

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        view: View,
        dropout: float,
        terms: Sequence[Term] = (),
    ) -> Tensor:
        """Attend: q (Q, H, D), k and v (K, H, D) -> (Q, H, D)."""
        ...


class Reference:
    """Every query against every key of the batch: the definition, for tests."""

    def supports(self, q: Tensor, view: View, dropout: float, terms: Sequence[Term] = ()) -> bool:
        """Tell whether it can run: always."""
        return True

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        view: View,
        dropout: float,
        terms: Sequence[Term] = (),
    ) -> Tensor:
        """Attend: q (Q, H, D), k and v (K, H, D) -> (Q, H, D)."""
        products = torch.einsum("qhd,khd->hqk", q, k)
        logits = sum((term.dense() for term in terms), products) / math.sqrt(q.shape[-1])
        weights = logits.masked_fill(~view.allowed(), float("-inf")).softmax(-1)
        return torch.einsum("hqk,khd->qhd", drop(weights, dropout) if dropout else weights, v)


class Padded:
    """Lays the sequences out as rows and hands them to torch's attention, on any device."""

    def supports(self, q: Tensor, view: View, dropout: float, terms: Sequence[Term] = ()) -> bool:
        """Tell whether it can run: always."""
        return True

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        view: View,
        dropout: float,
        terms: Sequence[Term] = (),
    ) -> Tensor:
        """Attend: q (Q, H, D), k and v (K, H, D) -> (Q, H, D)."""
        # Behind the end of a sequence there are only keys that no real query sees: no mask needed.
        plain = isinstance(view.order, Causal) and view.q is view.k and not terms
        attend = _attend if dropout and q.device.type == "cpu" else F.scaled_dot_product_attention
        rows = attend(
            _pad(q, view.q),
            _pad(k, view.k),
            _pad(v, view.k),
            None if plain else _mask(q, view, terms),
            dropout,
            is_causal=plain,
        )  # (B, H, L, D)
        return _unpad(rows, view.q)


class Slotted:
    """Reads keys where they lie in slots, for queries that are as many of each sequence.

    So are the steps of generation: one new token of each sequence, or of each of a text's beams,
    looks into a cache of which nothing is laid out anew.
    """

    def supports(self, q: Tensor, view: View, dropout: float, terms: Sequence[Term] = ()) -> bool:
        """Tell whether keys and queries lie so."""
        return view.k.capacity is not None and len(set(view.q.lengths)) == 1

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        view: View,
        dropout: float,
        terms: Sequence[Term] = (),
    ) -> Tensor:
        """Attend: q (Q, H, D), k and v (K, H, D) -> (Q, H, D)."""
        capacity, heads = view.k.capacity, q.shape[1:]
        assert capacity is not None, "supported before"
        queries = q.view(-1, view.q.max_seqlen, *heads)  # (B, Q / B, H, D)
        keys, values = (
            x.view(-1, capacity, *heads)[:, : view.k.max_seqlen] for x in (k, v)
        )  # (B, L, H, D)
        rows = F.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            _mask(q, view, terms),
            dropout,
        )  # (B, H, Q / B, D)
        return rows.transpose(1, 2).flatten(0, 1)


class VarLen:
    """torch's flash attention over packed sequences: on a GPU, in half precision."""

    def supports(self, q: Tensor, view: View, dropout: float, terms: Sequence[Term] = ()) -> bool:
        """Tell whether it can run on queries (Q, H, D); it knows no dropout, ranks or terms."""
        return (
            q.device.type == "cuda"
            and q.dtype in (torch.float16, torch.bfloat16)
            and torch.cuda.get_device_capability(q.device) >= (8, 0)
            and q.shape[-1] % 8 == 0
            and q.shape[-1] <= 256
            and not dropout
            and not terms
            and not isinstance(view.order, Ranks)
            and (view.k.capacity is None or _reads_slots())
        )

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        view: View,
        dropout: float,
        terms: Sequence[Term] = (),
    ) -> Tensor:
        """Attend: q (Q, H, D), k and v (K, H, D) -> (Q, H, D)."""
        slots = {} if view.k.capacity is None else {"seqused_k": view.k.sizes.int()}
        out = _varlen()(
            q,
            k,
            v,
            view.q.cu_seqlens,
            view.k.cu_seqlens,
            view.q.max_seqlen,
            view.k.max_seqlen,
            window_size=(-1, -1 if view.order is None else 0),  # how far back and ahead
            **slots,
        )
        assert isinstance(out, Tensor), "a tuple comes only where more was asked for"
        return out


@cache
def _varlen() -> Callable[..., Tensor | tuple[Tensor, ...]]:
    """Load torch's kernel at its first use: it brings the compiler with it, seconds of imports."""
    module = importlib.import_module("torch.nn.attention.varlen")
    return cast(Callable[..., Tensor | tuple[Tensor, ...]], module.varlen_attn)


@cache
def _reads_slots() -> bool:
    """Tell whether torch's kernel reads keys that lie in slots; 2.11 does not yet."""
    return "seqused_k" in inspect.signature(_varlen()).parameters


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, *, is_causal: bool
) -> Tensor:
    """Do what torch's attention does on rows (B, H, L, D), but drop weights as `drop` does."""
    logits = q @ k.mT / math.sqrt(q.shape[-1])  # (B, H, L, L)
    if is_causal:
        mask = torch.ones_like(logits[0, 0], dtype=torch.bool).tril()
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -math.inf)
    elif mask is not None:
        logits = logits + mask
    return drop(torch._safe_softmax(logits, -1).to(v.dtype), dropout) @ v


def _mask(q: Tensor, view: View, terms: Sequence[Term]) -> Tensor:
    """Say which keys rows of queries see, or add to their scores: (B, 1 or H, 1 or L, L)."""
    cells = torch.arange(view.k.max_seqlen, device=q.device)
    seen = (cells < view.k.sizes[:, None])[:, None, None]  # (B, 1, 1, L)
    if (ranks := view.ranks()) is not None:
        own, other = _cells(ranks.q, view.q), _cells(ranks.k, view.k)  # (B, L), (B, L)
        seen = seen & (other[:, None] <= own[:, :, None])[:, None]  # (B, 1, L, L)
    if not terms:
        return seen
    added = sum((_rows(term, view) for term in terms[1:]), _rows(terms[0], view))
    return (added / math.sqrt(q.shape[-1])).masked_fill(~seen, float("-inf"))


def _rows(term: Term, view: View) -> Tensor:
    """Give what a term adds, by rows: (B, H, L, L)."""
    table = _pad(term.table, view.q)  # (Q, H, R) -> (B, H, L, R)
    rows = term.row(_cells(term.q, view.q)[:, :, None], _cells(term.k, view.k)[:, None])
    return table.gather(3, rows[:, None].expand(-1, table.shape[1], -1, -1))


def _cells(x: Tensor, layout: Layout) -> Tensor:
    """Lay numbers out as rows: (T,) -> (B, L)."""
    return x.index_select(0, layout.pad_index).view(-1, layout.max_seqlen)


def _pad(x: Tensor, layout: Layout) -> Tensor:
    """Lay sequences out as rows: (T, H, D) -> (B, H, L, D)."""
    cells: Tensor = _Pad.apply(x, layout)  # type: ignore[no-untyped-call]
    return cells.view(-1, layout.max_seqlen, *x.shape[1:]).transpose(1, 2)


def _unpad(rows: Tensor, layout: Layout) -> Tensor:
    """Lay rows end to end: (B, H, L, D) -> (T, H, D)."""
    cells = rows.transpose(1, 2).flatten(0, 1)  # (B * L, H, D)
    out: Tensor = _Unpad.apply(cells, layout)  # type: ignore[no-untyped-call]
    return out


class _Pad(torch.autograd.Function):
    """Selects the token of each cell; its gradient is that of the token's own cell.

    Cells behind the end of a sequence repeat a token, but carry no gradient: as keys they are
    hidden, as queries they are thrown away. So nothing needs to be summed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        """Lay tokens out as cells: (T, ...) -> (B*L, ...)."""
        ctx.layout = layout
        return x.index_select(0, layout.pad_index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Take each token's gradient from its own cell."""
        return grad.index_select(0, ctx.layout.unpad_index), None


class _Unpad(torch.autograd.Function):
    """Selects the cell of each token; the gradient of the other cells is zero."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, layout: Layout) -> Tensor:
        """Take tokens out of their cells: (B*L, ...) -> (T, ...)."""
        ctx.layout = layout
        return cells.index_select(0, layout.unpad_index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Put each token's gradient into its cell, zeros elsewhere."""
        layout: Layout = ctx.layout
        cells = grad.new_zeros(len(layout.pad_index), *grad.shape[1:])
        return cells.index_copy_(0, layout.unpad_index, grad), None


KERNELS: tuple[Kernel, ...] = (VarLen(), Slotted(), Grouped(), Padded(), Reference())
"""In order of preference: the first that supports the call runs."""


def choose(
    kernels: tuple[Kernel, ...], q: Tensor, view: View, dropout: float, terms: Sequence[Term] = ()
) -> Kernel:
    """Pick the first kernel that supports these queries (Q, H, D)."""
    kernel = next(kernel for kernel in kernels if kernel.supports(q, view, dropout, terms))
    _announce(type(kernel).__name__, q.device.type, q.dtype)
    return kernel


@cache
def _announce(name: str, device: str, dtype: torch.dtype) -> None:
    """Log a choice, once."""
    log.info("attention by the %s kernel (%s, %s)", name.lower(), device, dtype)
