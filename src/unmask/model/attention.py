"""Multi-head attention that reads a source projected once.

Q query tokens, K source tokens, W width, H heads, D = W / H.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from unmask.model.dropout import Dropout
from unmask.model.kernels import KERNELS, choose
from unmask.model.scores import SCORES, Term
from unmask.model.spec import Spec
from unmask.model.view import View


class KV(NamedTuple):
    """A source as attention remembers it."""

    k: Tensor
    """(K, H, D)."""
    v: Tensor
    """(K, H, D)."""


class Attention(nn.Module):
    """Queries from `x` look into a source, head by head (https://arxiv.org/abs/1706.03762, 3.2)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.query = nn.Linear(spec.width, spec.width, bias=spec.attention_bias)
        self.key = nn.Linear(spec.width, spec.width, bias=spec.attention_bias)
        self.value = nn.Linear(spec.width, spec.width, bias=spec.attention_bias)
        self.output = nn.Linear(spec.width, spec.width, bias=spec.attention_bias)
        self.scores = SCORES[spec.scores](spec) if spec.scores else None
        self.dropout = Dropout(0.0)  # its rate acts on the weights, inside the kernel
        self.kernels = KERNELS

    def remember(self, source: Tensor) -> KV:
        """Project a source (K, W) to keys and values."""
        return KV(self._split(self.key(source)), self._split(self.value(source)))

    def forward(self, x: Tensor, kv: KV, view: View) -> Tensor:
        """Attend: (Q, W) -> (Q, W)."""
        return self.read(self._split(self.query(x)), kv, view)

    def self_attend(self, x: Tensor, view: View) -> Tensor:
        """Let x look into itself: (T, W) -> (T, W)."""
        out: Tensor = self(x, self.remember(x), view)
        return out

    def read(self, q: Tensor, kv: KV, view: View) -> Tensor:
        """Attend with queries (Q, H, D): -> (Q, W)."""
        terms: Sequence[Term] = ()
        if self.scores is not None:
            q, terms = self.scores(q, view)
        seen = self.attend(q, kv, view, terms)  # (Q, H, D)
        out: Tensor = self.output(seen.flatten(1))  # (Q, H, D) -> (Q, W)
        return out

    def attend(self, q: Tensor, kv: KV, view: View, terms: Sequence[Term]) -> Tensor:
        """Let the best kernel attend: q (Q, H, D) -> (Q, H, D)."""
        dropout = self.dropout.p if self.training else 0.0
        kernel = choose(self.kernels, q, view, dropout, terms)
        return kernel(q, kv.k, kv.v, view, dropout, terms)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], self.heads, -1)  # (K, W) -> (K, H, D)
