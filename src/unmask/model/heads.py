"""What reads the encoder's hidden states: the bricks of which heads are made.

T tokens, M tokens to be predicted, B sequences, W width, V entries of the vocabulary, K labels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unmask.model.block import ACTIVATIONS
from unmask.model.cross_entropy import Part, linear_cross_entropy
from unmask.model.dropout import Dropout
from unmask.model.spec import Activation, Spec


class Decoder(nn.Module):
    """Predicts tokens by the embedding table itself, with a bias of its own or none."""

    def __init__(self, pieces: nn.Embedding, bias: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(pieces.num_embeddings)) if bias else None
        # In a tuple torch does not see the embedding, so it is not registered (and saved) twice.
        self._tied = (pieces,)

    def forward(self, hidden: Tensor) -> Tensor:
        """Score every entry of the vocabulary: (M, W) -> (M, V)."""
        return F.linear(self._transformed(hidden), self._tied[0].weight, self.bias)

    def loss(self, hidden: Tensor, labels: Tensor, smoothing: float = 0.0) -> Part:
        """Score hidden states (M, W) against labels (M,), without keeping the (M, V) logits.

        smoothing: the share of a label's probability that all entries of the vocabulary get.
        """
        return linear_cross_entropy(
            self._transformed(hidden), self._tied[0].weight, self.bias, labels, smoothing
        )

    def _transformed(self, hidden: Tensor) -> Tensor:
        return hidden


class OwnDecoder(Decoder):
    """Predicts tokens by a table of its own."""

    def __init__(self, spec: Spec) -> None:
        pieces = nn.Embedding(spec.pieces, spec.width)
        super().__init__(pieces)
        self.pieces = pieces


class MaskedLM(Decoder):
    """Predicts tokens as BERT does: transform and norm, then a decoder."""

    def __init__(
        self, spec: Spec, pieces: nn.Embedding, activation: Activation | None = None
    ) -> None:
        super().__init__(pieces)
        width = pieces.embedding_dim
        self.transform = nn.Linear(spec.width, width)
        self.activation = ACTIVATIONS[activation or spec.activation]
        self.norm = nn.LayerNorm(width, spec.eps)

    def _transformed(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.norm(self.activation(self.transform(hidden)))
        return out


class Pooler(nn.Module):
    """Sums a sequence up in one row: a product with the state of the token that stands for it."""

    def __init__(
        self,
        spec: Spec,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(spec.width, width or spec.width)
        self.activation = activation

    def forward(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Pool (T, W), where `rows` (B,) stand for the sequences: -> (B, W or width)."""
        return self.activation(self.dense(hidden.index_select(0, rows)))


class Head(nn.Module):
    """The bricks that one kind of checkpoint has; absent ones are None.

    `masked` predicts the tokens behind masks, `following` those that come next.
    """

    def __init__(
        self,
        *,
        masked: Decoder | None = None,
        following: Decoder | None = None,
        pooler: Pooler | None = None,
        pair: nn.Linear | None = None,
        classifier: nn.Linear | None = None,
        span: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.masked = masked
        self.following = following
        self.pooler = pooler
        self.pair = pair
        self.classifier = classifier
        self.span = span
        self.dropout = Dropout(0.0)

    def classify(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Score each label for each of the rows (M,) of the hidden states (T, W): -> (M, K).

        A head with a pooler reads the rows through it, and so they must be those that stand for
        whole sequences.
        """
        assert self.classifier is not None, "only a head with a classifier knows labels"
        read = hidden.index_select(0, rows) if self.pooler is None else self.pooler(hidden, rows)
        scores: Tensor = self.classifier(self.dropout(read))
        return scores

    def spans(self, hidden: Tensor) -> Tensor:
        """Score each token as the first and as the last of an answer: (T, W) -> (T, 2)."""
        assert self.span is not None, "only a head for question answering finds answers"
        scores: Tensor = self.span(hidden)
        return scores


Brick = Callable[[Spec, nn.Embedding, int], nn.Module]
"""Makes a part of a head: of the structure, the embedding of the pieces, which tied decoders get,
and the number of labels."""


def masked(spec: Spec, pieces: nn.Embedding, labels: int) -> MaskedLM:
    """Predict hidden tokens as BERT does."""
    return MaskedLM(spec, pieces)


def pooler(spec: Spec, pieces: nn.Embedding, labels: int) -> Pooler:
    """Pool as BERT does."""
    return Pooler(spec)


def each_label(spec: Spec, pieces: nn.Embedding, labels: int) -> nn.Linear:
    """Give a score to each label."""
    return nn.Linear(spec.width, labels)


def one_score(spec: Spec, pieces: nn.Embedding, labels: int) -> nn.Linear:
    """Give one score."""
    return nn.Linear(spec.width, 1)


def two_scores(spec: Spec, pieces: nn.Embedding, labels: int) -> nn.Linear:
    """Give a score to each of two things: first and last token, right and wrong order."""
    return nn.Linear(spec.width, 2)
