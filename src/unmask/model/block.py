"""One layer: attention, then a feed-forward net, each added to its input and normed.

A layer of a decoder with a source has cross-attention between the two. T tokens, W width.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from unmask.model.attention import KV, Attention
from unmask.model.dropout import Dropout
from unmask.model.spec import Activation, Spec
from unmask.model.view import View

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


class Across(NamedTuple):
    """What cross-attention reads."""

    kv: KV
    """The source as the block's own attention remembers it."""
    view: View
    """Tokens as queries, the source as keys."""


class FeedForward(nn.Module):
    """Two products with an activation between them, token by token."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.up = nn.Linear(spec.width, spec.inner)
        self.activation = spec.activation
        self.down = nn.Linear(spec.inner, spec.width)

    def forward(self, x: Tensor) -> Tensor:
        """(T, W) -> (T, W)."""
        out: Tensor = self.down(ACTIVATIONS[self.activation](self.up(x)))
        return out


class Block(nn.Module):
    """Its parts, each as norm(x + branch(x)): the post-norm of the original."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.attention = Attention(spec)
        self.attention_norm = nn.LayerNorm(spec.width, spec.eps)
        if spec.source is not None:
            self.cross = Attention(spec)
            self.cross_norm = nn.LayerNorm(spec.width, spec.eps)
        self.feed_forward = FeedForward(spec)
        self.feed_forward_norm = nn.LayerNorm(spec.width, spec.eps)
        self.dropout = Dropout(0.0)

    def remember(self, x: Tensor) -> KV:
        """Keep of x (T, W) what attention reads."""
        return self.attention.remember(x)

    def forward(
        self, x: Tensor, view: View, kv: KV | None = None, across: Across | None = None
    ) -> Tensor:
        """(T, W) -> (T, W); kv: what is read, where that is not x itself."""
        seen = self.attention.self_attend(x, view) if kv is None else self.attention(x, kv, view)
        x = self.attention_norm(x + self.dropout(seen))
        if across is not None:
            x = self.cross_norm(x + self.dropout(self.cross(x, across.kv, across.view)))
        out: Tensor = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return out


class PreNormBlock(Block):
    """The same parts as x + branch(norm(x)), which trains deep networks more steadily."""

    def remember(self, x: Tensor) -> KV:
        """Keep of x (T, W) what attention reads."""
        return self.attention.remember(self.attention_norm(x))

    def forward(
        self, x: Tensor, view: View, kv: KV | None = None, across: Across | None = None
    ) -> Tensor:
        """(T, W) -> (T, W); kv: what is read, where that is not x itself."""
        y = self.attention_norm(x)
        seen = self.attention.self_attend(y, view) if kv is None else self.attention(y, kv, view)
        x = x + self.dropout(seen)
        if across is not None:
            y = self.cross_norm(x)
            x = x + self.dropout(self.cross(y, across.kv, across.view))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out
