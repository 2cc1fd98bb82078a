"""The Transformer encoder of BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805).

T tokens, W width.
"""

from typing import cast

from torch import Tensor, nn

from unmask.model.block import Block, PreNormBlock
from unmask.model.embeddings import Embeddings
from unmask.model.spec import Spec
from unmask.model.view import Causal, View
from unmask.tokens import Tokens


class Transformer(nn.Module):
    """Embeddings, then a block for each layer."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.width = spec.width
        self.embeddings = Embeddings(spec)
        block = PreNormBlock if spec.norm_first else Block
        self.blocks = nn.ModuleList(block(spec) for _ in range(spec.blocks))
        self.schedule = tuple(range(spec.layers)) if spec.schedule is None else spec.schedule
        self.norm = nn.LayerNorm(spec.width, spec.eps) if spec.final_norm else nn.Identity()
        self.order = Causal() if spec.causal else None

    def forward(self, tokens: Tokens) -> Tensor:
        """Read T tokens: -> their hidden states (T, W)."""
        segments = None if tokens.segments is None else (tokens.segments, tokens.segments)
        view = View(tokens.layout, tokens.layout, self.order, segments)
        x: Tensor = self.embeddings(tokens)
        for block in self.path():
            x = block(x, view)
        out: Tensor = self.norm(x)
        return out

    def path(self) -> list[Block]:
        """List the block of each layer."""
        return [cast(Block, self.blocks[number]) for number in self.schedule]
