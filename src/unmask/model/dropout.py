"""Dropout whose random numbers cost little on the CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Dropout):
    """In training, sets values to zero at the rate `p` and enlarges the others to match."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop some of x, of any shape."""
        if not self.training or not self.p:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * keep(x, self.p)


def keep(x: Tensor, rate: float) -> Tensor:
    """Draw what to multiply x with: 0 at this rate, else 1 / (1 - rate); same shape and type.

    On the CPU torch draws one number after the other for each value. Here four values share the 64
    bits of one; a rate is so exact to the 65,536th part.
    """
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    numbers = bits.view(torch.int16)[: x.numel()]  # from -2^15 up to 2^15 - 1, evenly
    edge = round(rate * 2**16) - 2**15
    kept = numbers.clamp_(edge - 1, edge).sub_(edge - 1)  # 1 from the edge on, else 0
    return kept.to(x.dtype).div_(1 - rate).view(x.shape)
