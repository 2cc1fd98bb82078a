"""Which token may follow, and which one does.

n running texts, V entries of the vocabulary, P tokens of the longest text so far. A shorter text
has blanks before it, which are the number V.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unmask.model.generation import Generation


def constrained(
    scores: Tensor, texts: Tensor, written: int, stop: Sequence[int], settings: Generation
) -> Tensor:
    """Change scores (n, V) of what follows texts (n, P), of which so many tokens are new.

    It is done in the order that `transformers` has: penalty, repeated runs, ends that are too
    early.
    """
    if settings.repetition_penalty is not None:
        scores = penalised(scores, texts, settings.repetition_penalty)
    if settings.no_repeat_ngram_size is not None:
        scores = scores.masked_fill(
            repeats(texts, settings.no_repeat_ngram_size, scores), -math.inf
        )
    if written < (settings.min_new_tokens or 0) and stop:
        scores = scores.index_fill(1, torch.tensor(stop, device=scores.device), -math.inf)
    return scores


def penalised(scores: Tensor, texts: Tensor, penalty: float) -> Tensor:
    """Make tokens less likely that stand in texts (n, P) already (section 4.1 of CTRL)."""
    there = _marked(texts, scores)
    return scores.where(~there, torch.where(scores < 0, scores * penalty, scores / penalty))


def repeats(texts: Tensor, size: int, scores: Tensor) -> Tensor:
    """Mark what would end a run of `size` tokens that stands in texts (n, P) already: (n, V)."""
    if texts.shape[1] < size:
        return torch.zeros_like(scores, dtype=torch.bool)
    runs = texts.unfold(1, size, 1)  # (n, runs, size)
    begun = texts[:, texts.shape[1] + 1 - size :]  # (n, size - 1)
    same = (runs[:, :, :-1] == begun[:, None]).all(-1)
    return _marked(runs[:, :, -1].where(same, scores.shape[1]), scores)


def _marked(tokens: Tensor, scores: Tensor) -> Tensor:
    """Mark tokens (n, any number), blanks left out, in the shape of scores: (n, V)."""
    n, pieces = scores.shape
    marks = torch.zeros(n, pieces + 1, dtype=torch.bool, device=scores.device)
    return marks.scatter_(1, tokens, True)[:, :pieces]


def narrowed(scores: Tensor, settings: Generation) -> Tensor:
    """Change scores (n, V) as sampling is told to: temperature, top k, top p."""
    if settings.temperature is not None:
        scores = scores / settings.temperature
    if settings.top_k is not None:
        last = scores.topk(min(settings.top_k, scores.shape[1])).values[:, -1:]
        scores = scores.masked_fill(scores < last, -math.inf)
    if settings.top_p is not None:
        # From the least likely one on: those are out that have no more than the rest together.
        ranked, order = scores.sort()
        out = ranked.softmax(-1).cumsum(-1) <= 1 - settings.top_p
        out[:, -1] = False
        scores = scores.masked_fill(torch.zeros_like(out).scatter_(1, order, out), -math.inf)
    return scores


def drawn(scores: Tensor, numbers: Tensor) -> Tensor:
    """Draw a token for each text by its scores (n, V) and a number of [0, 1), (n,): -> (n,)."""
    sums = scores.softmax(-1).double().cumsum(-1)
    highest = sums[:, -1:].nextafter(sums.new_zeros(()))  # below the sum, whatever rounding does
    targets = torch.minimum(numbers[:, None] * sums[:, -1:], highest)
    return torch.searchsorted(sums, targets, right=True)[:, 0]
