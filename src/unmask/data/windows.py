"""Windows: the sequences that a text, or a pair of texts, becomes for a model.

n tokens of a window, T tokens of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unmask.text.template import Laid
from unmask.text.tokenizer import Tokenizer
from unmask.tokens import Layout, Tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How a task lays texts out for the model; saved with it."""

    length: int
    """The most tokens of a sequence, special tokens included."""
    long: Literal["truncate", "windows"] = "truncate"
    """Whether longer texts are cut, or read in windows whose scores are averaged. Question
    answering and tagging always read windows."""
    stride: int = 128
    """Tokens that two neighbouring windows share."""
    query: int = 64
    """The most tokens of a question; longer ones are cut."""
    answer: int = 30
    """The most tokens of an answer."""
    candidates: int = 20
    """Best starts and ends that answers are made of, and answers that are kept."""
    null_threshold: float = 0.0
    """A question has no answer where the score of none is higher than the best one by more."""
    unanswerable: bool | None = None
    """Whether a question may have no answer; as it was in training when absent."""
    sentences: int = 3
    """The most sentences of a summary that is made of a text's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A sequence that the model reads: a whole record, or a part of one."""

    laid: Laid
    """Its tokens, special ones included."""
    target: Any = None
    """What training wants of it, as the task has it; None where that is not known."""
    cut: bool = False
    """Whether a part of the record was left out."""
    shortened: bool = False
    """Whether a part of what training wants was left out."""

    @property
    def ids(self) -> np.ndarray:
        """(n,) int32, special tokens included."""
        return self.laid.ids

    @property
    def size(self) -> int:
        """Tokens that training runs through: n, and more where a text is written."""
        return len(self.ids)


def lay(windows: Sequence[Window]) -> Tokens:
    """Lay windows end to end."""
    layout = Layout.of([len(window.ids) for window in windows])
    ids = torch.from_numpy(np.concatenate([window.ids for window in windows]).astype(np.int64))
    segments = [window.laid.segments for window in windows]
    if all(one is None for one in segments):
        return Tokens(ids, layout)
    every = [
        np.zeros(len(window.ids), dtype=np.int64) if own is None else own
        for window, own in zip(windows, segments, strict=True)
    ]
    return Tokens(ids, layout, torch.from_numpy(np.concatenate(every)))


def summaries(windows: Sequence[Window], layout: Layout) -> Tensor:
    """Find the tokens that stand for whole windows laid end to end: (B,) int64."""
    return layout.first + torch.tensor([window.laid.summary for window in windows])


def texts(
    records: Sequence[tuple[str, ...]],
    targets: Sequence[Any],
    tokenizer: Tokenizer,
    reading: Reading,
) -> list[list[Window]]:
    """Lay out records of one text or two; each window has the record's target."""
    ids = iter(tokenizer.encode_batch([text for record in records for text in record]))
    found = []
    for record, target in zip(records, targets, strict=True):
        a, b = next(ids), next(ids) if len(record) == 2 else None
        found.append(_windows(tokenizer, a, b, reading, target))
    return found


def _windows(
    tokenizer: Tokenizer, a: list[int], b: list[int] | None, reading: Reading, target: Any
) -> list[Window]:
    """Cut a text or a pair that is too long, or read the longer text of it in windows."""
    room = tokenizer.room(reading.length, 1 if b is None else 2)
    if b is None:
        if reading.long == "truncate":
            return [window(tokenizer, a[:room], None, target, cut=len(a) > room)]
        parts = sliding(len(a), room, min(reading.stride, room // 2))
        return [window(tokenizer, a[start:end], None, target) for start, end in parts]
    of_a, of_b = shorten(len(a), len(b), room)
    if reading.long == "truncate":
        cut = (of_a, of_b) != (len(a), len(b))
        return [window(tokenizer, a[:of_a], b[:of_b], target, cut=cut)]
    if len(a) <= len(b):
        parts = sliding(len(b), room - of_a, min(reading.stride, (room - of_a) // 2))
        cut = of_a < len(a)
        return [window(tokenizer, a[:of_a], b[start:end], target, cut) for start, end in parts]
    parts = sliding(len(a), room - of_b, min(reading.stride, (room - of_b) // 2))
    cut = of_b < len(b)
    return [window(tokenizer, a[start:end], b[:of_b], target, cut) for start, end in parts]


def window(
    tokenizer: Tokenizer,
    a: Sequence[int],
    b: Sequence[int] | None,
    target: Any = None,
    cut: bool = False,
) -> Window:
    """Make one window of a text or a pair that fits."""
    return Window(laid=tokenizer.lay(a, b), target=target, cut=cut)


def shorten(a: int, b: int, room: int) -> tuple[int, int]:
    """Say how much of two texts of these lengths is kept: the longer one loses tokens first."""
    if a + b <= room:
        return a, b
    low = min(a, b, room // 2)
    return (low, room - low) if a <= b else (room - low, low)


def sliding(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Cover a text of `length` tokens with windows of `room`: from, up to but not including.

    Neighbours share `stride` tokens; the last one ends where the text does.
    """
    assert 0 <= stride < room, "windows must get on"
    starts = range(0, max(1, length - stride), room - stride)
    return [(start, min(start + room, length)) for start in starts]


def richest(parts: Sequence[tuple[int, int]], length: int) -> np.ndarray:
    """For each of `length` tokens, find the window in which it has most context.

    The context of a token is the smaller number of tokens on its left and on its right; a longer
    window wins by a little, and the first of equals (google-research/bert, run_squad.py).
    """
    tokens = np.arange(length)
    starts, ends = np.array(parts).T[:, :, None]  # (windows, 1) each
    context = np.minimum(tokens - starts, ends - 1 - tokens)  # (windows, length)
    scores = np.where(context < 0, -1.0, context + 0.01 * (ends - starts))
    best: np.ndarray = scores.argmax(0)  # (length,)
    return best
