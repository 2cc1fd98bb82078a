"""The Transformer encoder of BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805).

T tokens, W width.
"""

from torch import Tensor, nn

from unmask.model.block import Block
from unmask.model.embeddings import Embeddings
from unmask.model.spec import Spec
from unmask.model.view import View
from unmask.tokens import Tokens


class Transformer(nn.Module):
    """Embeddings, then a block for each layer."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.width = spec.width
        self.embeddings = Embeddings(spec)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.blocks))
        self.schedule = tuple(range(spec.layers)) if spec.schedule is None else spec.schedule

    def forward(self, tokens: Tokens) -> Tensor:
        """Read T tokens: -> their hidden states (T, W)."""
        view = View(tokens.layout, tokens.layout)
        x: Tensor = self.embeddings(tokens)
        for block in self.schedule:
            x = self.blocks[block](x, view)
        return x
