"""Which keys a query may see: those of its own sequence, in an order or all of them.

Q query tokens, K key tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from unmask.tokens import Layout


@dataclass(frozen=True, slots=True)
class Causal:
    """A query sees the keys up to its own place; the last of both stand at the same one."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """A query sees the keys of no higher rank than its own."""

    q: Tensor
    """(Q,) int64."""
    k: Tensor
    """(K,) int64."""


@dataclass(slots=True)
class View:
    """Sequence b of the queries sees sequence b of the keys, as far as the order lets it.

    Nobody changes one, but it is not frozen: of frozen ones torch's compiler (2.11) guards each
    size, and so would compile anew for each batch.
    """

    q: Layout
    k: Layout
    order: Causal | Ranks | None = None
    """None: every query sees its whole sequence."""
    segments: tuple[Tensor, Tensor] | None = None
    """(Q,) and (K,) int64, those of queries and keys; None: all the same."""
    at: Tensor | None = None
    """(Q,) int64, the place of each query among the keys; None: the last ones stand together."""

    def ranks(self) -> Ranks | None:
        """Give the order as ranks."""
        if not isinstance(self.order, Causal):
            return self.order
        return Ranks(self.places(), self.k.positions)

    def places(self) -> Tensor:
        """Give the place of each query among the keys: (Q,) int64."""
        if self.at is not None:
            return self.at
        if self.q is self.k:
            return self.q.positions
        before = self.k.sizes - self.q.sizes  # (B,)
        return self.q.positions + before[self.q.sequence_of]

    def allowed(self) -> Tensor:
        """Say it pair by pair: (Q, K) bool."""
        same = self.q.sequence_of[:, None] == self.k.sequence_of
        ranks = self.ranks()
        return same if ranks is None else same & (ranks.k <= ranks.q[:, None])
