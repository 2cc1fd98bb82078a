"""Two streams through one encoder: tokens are guessed from those of lower rank.

T tokens, M of them to be guessed, W width.
"""

import torch
from torch import Tensor

from unmask.model.transformer import Transformer
from unmask.model.view import Ranks, View
from unmask.tokens import Layout, Tokens


def guess(
    encoder: Transformer,
    tokens: Tokens,
    ranks: Tensor,
    rows: Tensor,
    queries: Layout,
    memory: Tensor | None = None,
) -> Tensor:
    """Run both streams of XLNet (https://arxiv.org/abs/1906.08237, section 2.3): -> (M, W).

    The content stream reads tokens, each with those of no higher rank. The query stream begins
    with nothing but the places of the tokens to be guessed, and reads the contents of lower rank.

    ranks: (T,) int64, higher for later; tokens that all may see have the lowest, and there is one
    in every sequence. rows: (M,) int64, the tokens to be guessed, in order. queries: how many those
    are of each sequence, at least one. memory: (T,) bool, the tokens of the previous segment,
    whose ranks are the lowest: gradients do not pass through their states (section 2.4).
    """
    layout, of = tokens.layout, tokens.segments
    contents = View(layout, layout, Ranks(ranks, ranks), None if of is None else (of, of))
    guesses = View(
        queries,
        layout,
        Ranks(ranks[rows] - 1, ranks),
        None if of is None else (of[rows], of),
        at=layout.positions[rows],
    )
    content, query = encoder.embeddings(tokens), encoder.embeddings.of_unseen(len(rows))
    path = encoder.path()
    for layer, block in enumerate(path, 1):
        if memory is not None:
            content = torch.where(memory[:, None], content.detach(), content)
        kv = block.remember(content)
        query = block(query, guesses, kv)
        if layer < len(path):  # nobody reads the last contents
            content = block(content, contents, kv)
    out: Tensor = encoder.norm(query)
    return out
