"""What enters the encoder: the sum of the embeddings of a token and its place.

T tokens, W width, P positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.model.dropout import Dropout
from unmask.model.spec import Spec
from unmask.tokens import Tokens


class Sinusoids(nn.Module):
    """Waves in place of learned positions (https://arxiv.org/abs/1706.03762, section 3.5).

    They are saved with a model, and one that is read keeps what is in its file.
    """

    weight: Tensor
    """(P, W)."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        waves = torch.arange(0, width, 2) / width
        angles = torch.arange(positions)[:, None] / 10_000**waves  # (P, W / 2)
        both = torch.stack([angles.sin(), angles.cos()], -1)  # (P, W / 2, 2)
        self.register_buffer("weight", both.flatten(1))  # (P, W)

    def forward(self, places: Tensor) -> Tensor:
        """Look up T places: -> (T, W)."""
        return F.embedding(places, self.weight)


class Embeddings(nn.Module):
    """The tables that a structure has, summed normed and brought to the width."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        rows, width = spec.position_start + spec.positions, spec.embedding_width or spec.width
        self.start = spec.position_start
        self.piece = nn.Embedding(spec.pieces, width)
        self.position = (Sinusoids if spec.sinusoidal else nn.Embedding)(rows, width)
        self.segment = nn.Embedding(spec.segments, width) if spec.segments else None
        self.language = nn.Embedding(spec.languages, width) if spec.languages else None
        self.norm = nn.LayerNorm(width, spec.eps) if spec.embedding_norm else nn.Identity()
        self.dropout = Dropout(0.0)
        self.projection = nn.Linear(width, spec.width) if spec.embedding_width else nn.Identity()

    def forward(self, tokens: Tokens) -> Tensor:
        """Look up T tokens: -> (T, W)."""
        longest, limit = tokens.layout.max_seqlen, len(self.position.weight) - self.start
        assert longest <= limit, f"a sequence of {longest} tokens; there are {limit} positions"
        places = tokens.layout.positions
        x = self.piece(tokens.ids) + self.position(places + self.start if self.start else places)
        if self.segment is not None:
            segments = tokens.segments
            x = x + (self.segment.weight[0] if segments is None else self.segment(segments))
        if self.language is not None and tokens.languages is not None:
            x = x + self.language(tokens.languages)
        out: Tensor = self.projection(self.dropout(self.norm(x)))
        return out
