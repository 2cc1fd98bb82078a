"""What enters the encoder: the sum of a token's, its segment's and its position's embedding.

T tokens, W width.
"""

from torch import Tensor, nn

from unmask.model.dropout import Dropout
from unmask.model.spec import Spec
from unmask.tokens import Tokens


class Embeddings(nn.Module):
    """The tables that a structure has, summed and normed."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        rows, width = spec.position_start + spec.positions, spec.width
        self.start = spec.position_start
        self.piece = nn.Embedding(spec.pieces, width)
        self.position = nn.Embedding(rows, width)
        self.segment = nn.Embedding(spec.segments, width) if spec.segments else None
        self.norm = nn.LayerNorm(width, spec.eps)
        self.dropout = Dropout(0.0)

    def forward(self, tokens: Tokens) -> Tensor:
        """Look up T tokens: -> (T, W)."""
        longest, limit = tokens.layout.max_seqlen, len(self.position.weight) - self.start
        assert longest <= limit, f"a sequence of {longest} tokens; there are {limit} positions"
        places = tokens.layout.positions
        x = self.piece(tokens.ids) + self.position(places + self.start if self.start else places)
        if self.segment is not None:
            segments = tokens.segments
            x = x + (self.segment.weight[0] if segments is None else self.segment(segments))
        out: Tensor = self.dropout(self.norm(x))
        return out
