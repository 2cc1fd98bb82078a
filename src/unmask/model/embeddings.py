"""What enters the encoder: the sum of the embeddings of a token and its place.

T tokens, M of them to be guessed, W width, P positions.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.model.dropout import Dropout
from unmask.model.spec import Spec
from unmask.model.view import View
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
    """The tables that a structure has, summed, normed and brought to the width."""

    piece: nn.Embedding

    def __init__(self, spec: Spec, pieces: nn.Embedding | None = None) -> None:
        """Make the tables. pieces: that of another module, which is used instead of an own one."""
        super().__init__()
        width, self.start = spec.embedding_width or spec.width, spec.position_start
        if pieces is None:
            self.piece = nn.Embedding(spec.pieces, width)
        else:
            # Past torch, which would register (and save) it a second time.
            self.__dict__["piece"] = pieces
        self.scale = math.sqrt(width) if spec.scaled else None
        self.position: nn.Embedding | Sinusoids | None = None
        if spec.positions is not None:
            kind = Sinusoids if spec.sinusoidal else nn.Embedding
            self.position = kind(self.start + spec.positions, width)
        self.segment = nn.Embedding(spec.segments, width) if spec.segments else None
        self.language = nn.Embedding(spec.languages, width) if spec.languages else None
        self.norm = nn.LayerNorm(width, spec.eps) if spec.embedding_norm else nn.Identity()
        self.dropout = Dropout(0.0)
        self.projection = nn.Linear(width, spec.width) if spec.embedding_width else nn.Identity()
        self.spoken: int | None = None
        """Language of the tokens that are not told theirs; None: none is added."""
        self.unseen = nn.Parameter(torch.zeros(spec.width)) if spec.two_streams else None

    def forward(self, tokens: Tokens, view: View | None = None) -> Tensor:
        """Look up T tokens: -> (T, W); view: tells their places, if they continue others."""
        x: Tensor = self.piece(tokens.ids)
        if self.scale is not None:
            x = x * self.scale
        if self.position is not None:
            view = view or View(tokens.layout, tokens.layout)
            x = x + self.position(self._rows(tokens, view, len(self.position.weight)))
        if self.segment is not None:
            segments = tokens.segments
            x = x + (self.segment.weight[0] if segments is None else self.segment(segments))
        if self.language is not None and tokens.languages is not None:
            x = x + self.language(tokens.languages)
        elif self.language is not None and self.spoken is not None:
            x = x + self.language.weight[self.spoken]
        out: Tensor = self.projection(self.dropout(self.norm(x)))
        return out

    def of_unseen(self, count: int) -> Tensor:
        """Give what stands for so many tokens that are to be guessed: (M, W)."""
        assert self.unseen is not None, "only structures of two streams guess unseen tokens"
        out: Tensor = self.dropout(self.unseen.expand(count, -1))
        return out

    def _rows(self, tokens: Tokens, view: View, rows: int) -> Tensor:
        """Find the row of each token in the table of positions: (T,)."""
        longest, limit = view.k.max_seqlen, rows - self.start
        assert longest <= limit, f"a sequence of {longest} tokens; there are {limit} positions"
        places = view.places() if tokens.positions is None else tokens.positions
        return places + self.start if self.start else places
