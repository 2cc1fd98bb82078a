"""The structure of a Transformer, as data: nothing of training, no torch."""

import sys
from dataclasses import dataclass
from typing import Literal

Activation = Literal["gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """What an encoder or a decoder is made of. Families differ by these values only."""

    width: int
    """W, of the hidden states."""
    heads: int
    """H, attention heads of a block; divides the width."""
    inner: int
    """Width between the two products of a feed-forward layer."""
    layers: int
    """Through which a token goes, one after the other."""
    pieces: int
    """V, entries of the vocabulary."""
    positions: int | None
    """Longest sequence; None: any, as only distances are told, by the scores."""
    segments: int
    """Rows of the segment table; 0: there is none."""
    activation: Activation = "gelu"
    """`gelu` is x times the normal distribution function (erf); `gelu_tanh` approximates it."""
    eps: float = 1e-12
    """Added to the variance in every norm."""
    embedding_width: int | None = None
    """Of the embeddings, which then are projected to the width; None: they have that width."""
    schedule: tuple[int, ...] | None = None
    """Which block each layer is, where layers share their weights; None: each its own."""
    languages: int = 0
    """Rows of the table of languages; 0: there is none."""
    sinusoidal: bool = False
    """Whether positions are waves instead of learned."""
    position_start: int = 0
    """Row of the position table that the first token of a sequence takes."""
    scaled: bool = False
    """Whether embeddings of tokens are multiplied by the square root of their width."""
    embedding_norm: bool = True
    """Whether the embeddings are normed."""
    norm_first: bool = False
    """Whether a block norms what its parts read, instead of what comes of them."""
    final_norm: bool = False
    """Whether what leaves the last block is normed once more."""
    attention_bias: bool = True
    """Whether what attention computes has biases."""
    scores: Literal["transformer-xl"] | None = None
    """What adds to the products of queries and keys."""
    two_streams: bool = False
    """Whether tokens can be guessed by a second stream, which does not see them."""
    causal: bool = False
    """Whether a token sees only those before it, and itself."""
    tied: bool = True
    """Whether tokens are predicted by the table that embeds them."""
    source: "Spec | None" = None
    """Of an encoder-decoder, what the encoder is made of, whose states each block of the decoder
    reads by cross-attention; None: there is none."""
    shared: bool = False
    """Whether the embeddings of tokens are those of the source's tokens."""

    @property
    def longest(self) -> int:
        """The most tokens of a text that is read; of an encoder-decoder, of a source."""
        return sys.maxsize if (read := (self.source or self).positions) is None else read

    @property
    def blocks(self) -> int:
        """Layers that have weights of their own."""
        return self.layers if self.schedule is None else max(self.schedule) + 1
