"""An encoder and the head that reads it, as one module."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from unmask.model.attention import Attention
from unmask.model.dropout import Dropout
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.tokens import Tokens

INITIAL_STD = 0.02
"""Of random weights, cut off at two standard deviations (Devlin et al. 2019)."""


class Network(nn.Module):
    """Everything that is trained and saved together."""

    def __init__(self, encoder: Transformer, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.compiled = False
        """Whether the blocks are."""

    def forward(self, tokens: Tokens) -> Tensor:
        """Read T tokens: -> their hidden states (T, W)."""
        hidden: Tensor = self.encoder(tokens)
        return hidden

    def initialise(self, generator: torch.Generator) -> None:
        """Draw random weights: truncated normal matrices, biases of 0, norms of scale 1."""
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name == "bias":
                    nn.init.zeros_(parameter)
                elif isinstance(module, nn.LayerNorm):
                    nn.init.ones_(parameter)
                else:
                    std = INITIAL_STD
                    nn.init.trunc_normal_(
                        parameter, std=std, a=-2 * std, b=2 * std, generator=generator
                    )

    def set_dropout(self, rate: float) -> None:
        """Drop hidden states and attention weights at this rate in training."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.p = rate

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Let torch compile the blocks, all but the attention kernels, which are fast already.

        What is left is done token by token: it is compiled once, as long as T stays the same.
        """
        for module in self.encoder.modules():
            if isinstance(module, Attention):
                kernels = torch.compiler.disable(module.attend)  # type: ignore[no-untyped-call]
                cast(Any, module).attend = kernels
        for block in self.encoder.blocks:
            block.compile(backend=backend, dynamic=False)
        self.compiled = True

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Drop nothing for a while, and compile nothing for batches of other sizes."""
        self.eval()
        with torch.compiler.set_stance("force_eager") if self.compiled else nullcontext():
            yield
        self.train()


def components(network: nn.Module) -> list[tuple[str, int]]:
    """Count parameters by component: each module that holds some itself, in order of the model."""
    return [
        (name, count)
        for name, module in network.named_modules()
        if (count := sum(p.numel() for p in module.parameters(recurse=False)))
    ]
