"""Networks for reading alone: on a CPU, weights laid out once for products in bfloat16 or int8.

In training weights change with every step, and each product lays them out anew; here oneDNN has
done so before. T tokens, I and O the widths of what goes in and comes out.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from unmask import hardware
from unmask.errors import UserError
from unmask.model.attention import KV, Attention
from unmask.model.block import Block, FeedForward
from unmask.model.network import Network
from unmask.model.spec import Activation
from unmask.model.transformer import Transformer
from unmask.model.view import View

FUSED: dict[Activation | None, tuple[str, str]] = {
    None: ("none", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}
"""What oneDNN can do to a product before it is written: its names for that, and for how."""

AT_ONCE = 2**18
"""Numbers that are quantised at a time, so that they stay in the cache of a core."""


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


class QuantizedLinear(nn.Module):
    """A linear layer of whole numbers of 8 bits, and an activation behind it.

    Weights have one scale for each output. What goes in has one for all, which is found each time:
    so nothing has to be calibrated.
    """

    def __init__(self, linear: nn.Linear, activation: Activation | None = None) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self.scales = weight.abs().amax(1).clamp(min=1e-12) / 127  # (O,)
        narrow = (weight / self.scales[:, None]).round().to(torch.int8)
        self.weight = torch.ops.onednn.qlinear_prepack(narrow, None)
        self.zeros = torch.zeros(len(self.scales), dtype=torch.int32)
        self.bias = None if linear.bias is None else linear.bias.detach().float()
        self.fused = FUSED[activation]
        self.written = hardware.between(torch.int8, weight.device)

    def forward(self, x: Tensor) -> Tensor:
        """(T, I) -> (T, O), in the type that stands between products."""
        kind, how = self.fused
        narrow, scale, zero = quantized(x)
        plain = 1.0, 0  # what is written has no scale
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(narrow, scale, zero),
            *(self.weight, self.scales, self.zeros, self.bias),
            *(*plain, self.written, kind, [], how),
        )
        return out


def quantized(x: Tensor) -> tuple[Tensor, float, int]:
    """Give x, of any shape, as uint8, with the scale and the number that stands for zero.

    x is about scale * (number - zero); its range has zero in it. Raises UserError where x is not
    finite.
    """
    low, high = (float(edge) for edge in x.aminmax())
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 254 or 1.0  # one number is left for rounding
    if not math.isfinite(scale):
        raise UserError("a hidden state is not finite; look at the model, in precision float32")
    zero = round(-low / scale)
    shift = torch.tensor(zero + 0.5)  # so that cutting off the rest rounds
    narrow = torch.empty_like(x, dtype=torch.uint8)
    rows = max(1, AT_ONCE // x.shape[-1])
    for some, written in zip(torch.split(x, rows), torch.split(narrow, rows), strict=True):
        # By way of 16 bits: torch goes straight to 8 without a sign one number at a time.
        written.copy_(torch.add(shift, some.float(), alpha=1 / scale).to(torch.int16))
    return narrow, scale, zero


class JointAttention(Attention):
    """Attention that only lets x look into itself: queries, keys and values by one product."""

    def __init__(self, whole: Attention) -> None:
        nn.Module.__init__(self)
        self.heads, self.kernels, self.dropout = whole.heads, whole.kernels, whole.dropout
        self.scores = None
        self.joint = _joined([whole.query, whole.key, whole.value])
        self.output = whole.output

    def self_attend(self, x: Tensor, view: View) -> Tensor:
        """Let x look into itself: (T, W) -> (T, W)."""
        q, k, v = self.joint(x).view(len(x), 3, self.heads, -1).unbind(1)
        return self.read(q, KV(k, v), view)


def _joined(parts: Sequence[nn.Linear]) -> nn.Linear:
    """Make one layer that gives the outputs of several end to end."""
    width, biased = parts[0].in_features, parts[0].bias is not None
    height = sum(part.out_features for part in parts)
    made = nn.Linear(width, height, bias=biased, device="meta")  # draws no weights
    made.weight = nn.Parameter(torch.cat([part.weight for part in parts]))
    if biased:
        made.bias = nn.Parameter(torch.cat([part.bias for part in parts]))
    return made


class PrepackedFeedForward(nn.Module):
    """Two products, the first with the activation in it."""

    def __init__(self, whole: FeedForward, layer: type[PrepackedLinear | QuantizedLinear]) -> None:
        super().__init__()
        self.up, self.down = layer(whole.up, whole.activation), layer(whole.down)

    def forward(self, x: Tensor) -> Tensor:
        """(T, W) -> (T, W)."""
        out: Tensor = self.down(self.up(x))
        return out


def prepacked(network: Network, products: torch.dtype) -> Network:
    """Give a network that reads faster with products in a type; the same one where none does.

    It is in evaluation mode, shares all that is not in a block, and keeps the weights of the blocks
    as they are now.
    """
    layer = _layer(products, next(network.parameters()).device)
    if layer is None:
        return network
    shared = chain(network.parameters(), network.buffers())
    made = deepcopy(network, {id(tensor): tensor for tensor in shared}).eval()
    for block in _self_attending(made.encoder):
        block.attention = JointAttention(block.attention)
    for whole in list(made.encoder.modules()):
        for name, part in list(whole.named_children()):
            if isinstance(part, FeedForward):
                setattr(whole, name, PrepackedFeedForward(part, layer))
            elif isinstance(whole, Attention) and isinstance(part, nn.Linear):
                setattr(whole, name, layer(part))
    return made


def _self_attending(encoder: Transformer) -> list[Block]:
    """List the blocks whose attention never reads what was kept of other tokens.

    Decoders keep what they have read, and XLNet, the one with scores, what its second stream reads.
    """
    readers = [one for one in encoder.modules() if isinstance(one, Transformer)]
    blocks = [cast(Block, block) for one in readers if one.order is None for block in one.blocks]
    return [block for block in blocks if block.attention.scores is None]


def _layer(
    products: torch.dtype, device: torch.device
) -> type[PrepackedLinear | QuantizedLinear] | None:
    """Choose what takes a linear layer's place; None: nothing does."""
    if products == torch.int8:
        return QuantizedLinear
    fast = hardware.has_bfloat16(device) and hardware.has_onednn(products)
    return PrepackedLinear if device.type == "cpu" and products == torch.bfloat16 and fast else None
