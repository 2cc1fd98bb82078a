"""Dropout whose random numbers cost little on the CPU."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Dropout):
    """In training, sets values to zero at the rate `p` and enlarges the others to match."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop some of x, of any shape."""
        return drop(x, self.p) if self.training and self.p else x


class _Own(threading.local):
    """What each thread has for itself."""

    generator: torch.Generator | None = None
    """Where its numbers come from, if not from torch's own."""


_own = _Own()


@contextmanager
def seeded(number: int, device: torch.device) -> Iterator[None]:
    """Let what this thread drops meanwhile follow from a number, whatever other threads do."""
    if device.type != "cpu":
        torch.manual_seed(number)
        yield
        return
    _own.generator = torch.Generator().manual_seed(number)
    try:
        yield
    finally:
        _own.generator = None


def drop(x: Tensor, rate: float) -> Tensor:
    """Drop some of x, of any shape."""
    return x * keep(x, rate) if x.device.type == "cpu" else F.dropout(x, rate)


def keep(x: Tensor, rate: float) -> Tensor:
    """Draw what to multiply x with: 0 at this rate, else 1 / (1 - rate); same shape and type.

    On the CPU torch draws one number after the other for each value. Here four values share the 64
    bits of one; a rate is so exact to the 65,536th part.
    """
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
    bits.random_(-(2**63), None, generator=_own.generator)
    numbers = bits.view(torch.int16)[: x.numel()]  # from -2^15 up to 2^15 - 1, evenly
    edge = round(rate * 2**16) - 2**15
    kept = numbers.clamp_(edge - 1, edge).sub_(edge - 1)  # 1 from the edge on, else 0
    return kept.to(x.dtype).div_(1 - rate).view(x.shape)
