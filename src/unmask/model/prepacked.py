"""Networks for reading alone: on a CPU, weights laid out once for its products in bfloat16.

In training weights change with every step, and each product lays them out anew; here oneDNN has
done so before. T tokens, I and O the widths of what goes in and comes out.
"""

from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn

from unmask import hardware
from unmask.model.attention import Attention
from unmask.model.block import FeedForward
from unmask.model.network import Network
from unmask.model.spec import Activation

FUSED: dict[Activation | None, tuple[str, str]] = {
    None: ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}
"""What oneDNN can do to a product before it is written: its names for that, and for how."""


class PrepackedLinear(nn.Module):
    """A linear layer, and an activation behind it."""

    def __init__(self, linear: nn.Linear, activation: Activation | None = None) -> None:
        super().__init__()
        narrow = linear.weight.detach().to(torch.bfloat16)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(narrow, None)
        self.bias = None if linear.bias is None else linear.bias.detach().to(torch.bfloat16)
        self.fused = FUSED[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(T, I) -> (T, O) bfloat16."""
        kind, how = self.fused
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(torch.bfloat16), self.weight, self.bias, kind, [], how
        )
        return out


class PrepackedFeedForward(nn.Module):
    """Two products, the first with the activation in it."""

    def __init__(self, whole: FeedForward) -> None:
        super().__init__()
        self.up, self.down = (
            PrepackedLinear(whole.up, whole.activation),
            PrepackedLinear(whole.down),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(T, W) -> (T, W) bfloat16."""
        out: Tensor = self.down(self.up(x))
        return out


def prepacked(network: Network, products: torch.dtype) -> Network:
    """Give a network that reads faster with products in a type; the same one where none does.

    It is in evaluation mode, shares all that is not in a block, and keeps the weights of the blocks
    as they are now.
    """
    device = next(network.parameters()).device
    fast = hardware.has_bfloat16(device) and hardware.has_onednn(products)
    if device.type != "cpu" or products != torch.bfloat16 or not fast:
        return network
    shared = chain(network.parameters(), network.buffers())
    made = deepcopy(network, {id(tensor): tensor for tensor in shared}).eval()
    for whole in list(made.encoder.modules()):
        for name, part in list(whole.named_children()):
            if isinstance(part, FeedForward):
                setattr(whole, name, PrepackedFeedForward(part))
            elif isinstance(whole, Attention) and isinstance(part, nn.Linear):
                setattr(whole, name, PrepackedLinear(part))
    return made
