"""What enters the encoder: the sum of a token's, its segment's and its position's embedding.

T tokens, W width.
"""

from torch import Tensor, nn

from unmask.model.dropout import Dropout
from unmask.model.spec import Spec
from unmask.tokens import Tokens


class Embeddings(nn.Module):
    """Three tables, summed and normed."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.piece = nn.Embedding(spec.pieces, spec.width)
        self.position = nn.Embedding(spec.positions, spec.width)
        self.segment = nn.Embedding(spec.segments, spec.width)
        self.norm = nn.LayerNorm(spec.width, spec.eps)
        self.dropout = Dropout(0.0)

    def forward(self, tokens: Tokens) -> Tensor:
        """Look up T tokens: -> (T, W)."""
        longest, limit = tokens.layout.max_seqlen, len(self.position.weight)
        assert longest <= limit, f"a sequence of {longest} tokens; there are {limit} positions"
        x = self.piece(tokens.ids) + self.position(tokens.layout.positions)
        if tokens.segments is None:
            x = x + self.segment.weight[0]
        else:
            x = x + self.segment(tokens.segments)
        out: Tensor = self.dropout(self.norm(x))
        return out
