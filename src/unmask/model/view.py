"""Which keys a query may see: those of its own sequence.

Q query tokens, K key tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from unmask.tokens import Layout


@dataclass(frozen=True, slots=True)
class View:
    """Sequence b of the queries sees sequence b of the keys, the whole of it."""

    q: Layout
    k: Layout

    def allowed(self) -> Tensor:
        """Say it pair by pair: (Q, K) bool."""
        return self.q.sequence_of[:, None] == self.k.sequence_of
