"""What is added to the scores of queries and keys, besides their product.

Q query tokens, K key tokens, H heads, D width of a head, W = H D, R rows of a table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from unmask.model.spec import Spec
from unmask.model.view import View


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


class TransformerXL(nn.Module):
    """Scores of distances and of segments (https://arxiv.org/abs/1901.02860, section 3.3).

    A query meets contents, distances and segments with a vector of its own added for each. Whether
    two tokens are of one segment is XLNet's (https://arxiv.org/abs/1906.08237, section 2.5).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        head = spec.heads, spec.width // spec.heads
        self.distance = nn.Linear(spec.width, spec.width, bias=False)
        self.for_content = nn.Parameter(torch.zeros(head))
        self.for_distance = nn.Parameter(torch.zeros(head))
        self.for_segment = nn.Parameter(torch.zeros(head))
        self.segments = nn.Parameter(torch.zeros(2, *head))

    def forward(self, q: Tensor, view: View) -> tuple[Tensor, list[Term]]:
        """Give queries (Q, H, D) as they meet contents, and the terms."""
        reach = view.k.max_seqlen
        waves = _waves(reach, self.distance.in_features, q.device)  # (R, W)
        keys = self.distance(waves.to(self.distance.weight.dtype))  # (R, W)
        keys = keys.view(-1, *q.shape[1:])  # (R, W) -> (R, H, D)
        table = torch.einsum("qhd,rhd->qhr", q + self.for_distance, keys)
        terms = [Term(table, view.places(), view.k.positions, partial(_distance, reach))]
        if view.segments is not None:
            table = torch.einsum("qhd,rhd->qhr", q + self.for_segment, self.segments)
            terms.append(Term(table, *view.segments, _differ))
        return q + self.for_content, terms


SCORES = {"transformer-xl": TransformerXL}
"""By the names that a Spec has for them."""


@lru_cache(maxsize=16)
def _waves(reach: int, width: int, device: torch.device) -> Tensor:
    """Write distances of less than `reach`, the lowest first, as sines and cosines: (R, W)."""
    distances = torch.arange(1 - reach, reach, device=device)
    slopes = 1 / 10_000 ** (torch.arange(0, width, 2, device=device) / width)
    angles = distances[:, None] * slopes  # (R, W / 2)
    return torch.cat([angles.sin(), angles.cos()], -1)


def _distance(reach: int, q: Tensor, k: Tensor) -> Tensor:
    return q - k + (reach - 1)


def _differ(q: Tensor, k: Tensor) -> Tensor:
    return (q != k).long()
