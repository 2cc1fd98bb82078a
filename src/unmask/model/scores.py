"""What is added to the scores of queries and keys, besides their product.

Q query tokens, K key tokens, H heads, D width of a head, R rows of a table.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Term:
    """An addition to logits, before they are divided: `table[q, h, row(of q, of k)]`."""

    table: Tensor
    """(Q, H, R)."""
    q: Tensor
    """(Q,) int64, what the row depends on of each query."""
    k: Tensor
    """(K,) int64, what it depends on of each key."""
    row: Callable[[Tensor, Tensor], Tensor]
    """Finds rows, from 0 up to but not including R, for tensors of any one shape."""

    def dense(self) -> Tensor:
        """Give what every query adds for every key: (H, Q, K)."""
        table = self.table.transpose(0, 1)  # (Q, H, R) -> (H, Q, R)
        rows = self.row(self.q[:, None], self.k)  # (Q, K)
        return table.gather(2, rows.expand(len(table), -1, -1))
