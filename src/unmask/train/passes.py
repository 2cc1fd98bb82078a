"""Forward and backward passes of a step.

The small products of small models leave the cores of a CPU waiting for each other, so two of their
micro-batches are read there at once. Each lane adds up gradients of its own, and lanes are added in
order: the same step gives the same gradient each time. n micro-batches, P losses, W width.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unmask.contracts import Learnable, Movable
from unmask.lanes import lanes, side_by_side
from unmask.model import dropout
from unmask.model.network import Network

LANES = 2
"""Micro-batches that are read at once; each holds activations and a gradient of its own."""
WIDE = 512
"""W up to which it pays: the products of wider networks are long enough to keep all cores busy."""


class Passes:
    """What adds the gradients of micro-batches up in a network."""

    def __init__(self, network: Network, objective: Learnable[Any], dtype: torch.dtype) -> None:
        """Prepare passes with products in a type."""
        self.network, self.objective, self.dtype = network, objective, dtype
        self.device = next(network.parameters()).device
        self.weights: list[float] = []
        """Of each loss, as the last batch had them, and"""
        self.judged: list[bool] = []
        """whether it tells how often it was right."""
        self._twins: list[Network] = []

    def autocast(self) -> torch.autocast:
        """Let products run in the type that was chosen."""
        narrow = self.dtype is not torch.float32
        return torch.autocast(
            self.device.type, dtype=self.dtype if narrow else None, enabled=narrow
        )

    def step(self, batches: Sequence[Movable], counts: Tensor, seed: Sequence[int]) -> Tensor:
        """Add the gradients of n micro-batches; counts: (P,) terms of each loss in the whole step.

        seed: of what is dropped: nothing of it is left to be saved. Returns (2, P) float32: sum and
        number right of each loss.
        """
        seeds = np.random.SeedSequence(seed).generate_state(len(batches))
        count = lanes(len(batches), self.device, self._most())
        networks = [self.network, *self._copies(count - 1)]

        def share(lane: int) -> Tensor:
            """Read every `count`-th micro-batch from this lane's first one on: -> (2, P)."""
            found = []
            for number in range(lane, len(batches), count):
                with dropout.seeded(int(seeds[number]), self.device):
                    found.append(self.backward(batches[number], counts, networks[lane]))
            return torch.stack(found).sum(0)

        sums = list(side_by_side(count, share, range(count)))
        for network in networks[1:]:
            _hand_over(network, self.network)
        return torch.stack(sums).sum(0)

    def backward(self, batch: Movable, counts: Tensor, network: Network | None = None) -> Tensor:
        """Add the gradient of a micro-batch, in another network where one is given.

        counts and what is returned are those of `step`.
        """
        read = network or self.network
        with self.autocast():
            parts = self.objective.loss(read.encoder, read.head, batch.to(self.device))
        totals = torch.stack([part.total for part in parts.values()])  # (P,)
        self.weights = [part.weight for part in parts.values()]
        self.judged = [part.correct is not None for part in parts.values()]
        none = totals.new_zeros(())
        correct = [
            none if part.correct is None else part.correct.float() for part in parts.values()
        ]
        means = zip(self.weights, (totals / counts).unbind(), strict=True)
        loss = torch.stack([weight * mean for weight, mean in means]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return torch.stack([totals.detach(), torch.stack(correct)])

    def _most(self) -> int:
        return LANES if self.network.encoder.width <= WIDE and not self.network.compiled else 1

    def _copies(self, count: int) -> list[Network]:
        """Give networks of the same weights, in one memory, that have gradients of their own."""
        while len(self._twins) < count:
            alike = {id(own): nn.Parameter(own.detach()) for own in self.network.parameters()}
            buffers = {id(own): own for own in self.network.buffers()}
            self._twins.append(deepcopy(self.network, alike | buffers))
        for twin in self._twins:
            for own, copied in zip(self.network.parameters(), twin.parameters(), strict=True):
                copied.requires_grad_(own.requires_grad)
        return self._twins[:count]


def _hand_over(giver: Network, taker: Network) -> None:
    """Add the gradients of a network to those of another one, and forget them."""
    pairs = zip(giver.parameters(), taker.parameters(), strict=True)
    both: list[tuple[Tensor, Tensor]] = []
    for given, taken in pairs:
        if given.grad is not None and taken.grad is not None:
            both.append((taken.grad, given.grad))
        elif given.grad is not None:
            taken.grad = given.grad
        given.grad = None
    if both:
        sums, added = zip(*both, strict=True)
        torch._foreach_add_(sums, added)
