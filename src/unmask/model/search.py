"""Writing text token by token: the likeliest one, a drawn one, or those of the best beams.

n prompts, running rows of which each is a text that is being written, V entries of the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from unmask.errors import UserError
from unmask.model.cache import Cache
from unmask.model.choosing import constrained, drawn, narrowed
from unmask.model.generation import Generation
from unmask.model.heads import Decoder
from unmask.model.transformer import Transformer
from unmask.tokens import Layout, Tokens

ROWS = 64
"""Texts that are best written at once, all beams and samples counted."""


class Written(NamedTuple):
    """What was written for a prompt."""

    ids: tuple[int, ...]
    """The new tokens, the one that ended the text included."""
    score: float
    """Sum of the logarithms of their probabilities; of beams, divided by the length penalty."""


class Reader(Protocol):
    """Reads texts as they grow."""

    def read(self, new: Sequence[Sequence[int]]) -> Tensor:
        """Read further tokens of each row: float32 scores of what may follow, (rows, V)."""
        ...

    def reorder(self, rows: Sequence[int], sources: Sequence[int]) -> None:
        """Let row i go on from what was row `rows[i]`, and keep these of the sources."""
        ...


class Cached:
    """Reads each token once, and keeps what later ones look at."""

    def __init__(
        self,
        encoder: Transformer,
        decoder: Decoder,
        slots: int,
        capacity: int,
        source: Tokens | None = None,
    ) -> None:
        """Prepare for at most so many rows of so many tokens each, which read a source or none."""
        self._encoder, self._decoder = encoder, decoder
        self._device = next(encoder.parameters()).device
        memory = None if source is None else encoder.remember(source.to(self._device))
        self._cache = Cache(slots, capacity, memory)

    def read(self, new: Sequence[Sequence[int]]) -> Tensor:
        """Read further tokens of each row: float32 scores of what may follow, (rows, V)."""
        ids = torch.tensor([token for own in new for token in own])
        tokens = Tokens(ids, Layout.of([len(own) for own in new])).to(self._device)
        hidden = self._encoder(tokens, self._cache)  # (T, W)
        scores: Tensor = self._decoder(hidden.index_select(0, tokens.layout.last))
        return scores.float()

    def reorder(self, rows: Sequence[int], sources: Sequence[int]) -> None:
        """Let row i go on from what was row `rows[i]`, and keep these of the sources."""
        self._cache.reorder(rows, sources)


def generate(
    encoder: Transformer,
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    *,
    limits: Sequence[int],
    stop: Sequence[int] = (),
    source: Tokens | None = None,
    places: Sequence[int] | None = None,
) -> list[list[Written]]:
    """Write on behind each of n prompts: its `num_return_sequences` texts, the best one first.

    Where a text stands, and what is written beside it, changes nothing. limits: the most new tokens
    of each. stop: tokens that end a text. source: n sequences that an encoder-decoder reads.
    places: numbers of the prompts, of which sampling depends; as they stand when absent.
    """
    each = settings.num_return_sequences if settings.do_sample else settings.num_beams
    most = max(len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True))
    with torch.inference_mode():
        reader = Cached(encoder, decoder, each * len(prompts), most, source)
        numbers = range(len(prompts)) if places is None else places
        return search(reader, prompts, settings, limits, stop, numbers)


def search(
    reader: Reader,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    limits: Sequence[int],
    stop: Sequence[int],
    places: Sequence[int],
) -> list[list[Written]]:
    """Write with whatever reads; see `generate`."""
    scores = reader.read(prompts)  # (n, V)
    texts = _texts(prompts, scores)
    if settings.num_beams > 1:
        return _beams(reader, scores, texts, settings, limits, stop)
    each = settings.num_return_sequences
    rows = [row for row in range(len(prompts)) for _ in range(each)]
    if each > 1:
        reader.reorder(rows, rows)
    numbers = _numbers(settings, places, max(limits)) if settings.do_sample else None
    single = _Single(settings, [limits[row] for row in rows], stop, numbers)
    found = single.run(reader, scores[rows], texts[rows])
    return [found[start : start + each] for start in range(0, len(found), each)]


def _texts(prompts: Sequence[Sequence[int]], scores: Tensor) -> Tensor:
    """Lay prompts out as rows that end together, blanks before the shorter ones: (n, P)."""
    longest, blank = max(map(len, prompts)), scores.shape[1]
    rows = [[*repeat(blank, longest - len(prompt)), *prompt] for prompt in prompts]
    return torch.tensor(rows, device=scores.device)


def _numbers(settings: Generation, places: Sequence[int], count: int) -> np.ndarray:
    """Draw numbers of [0, 1) for each sample, `count` each, by the place of its prompt."""
    seed, samples = settings.seed or 0, range(settings.num_return_sequences)
    paths = [(seed, place, sample) for place in places for sample in samples]
    return np.stack([np.random.default_rng(path).random(count) for path in paths])


@dataclass(frozen=True, slots=True)
class _Single:
    """Greedy search and sampling: one token after the other, none taken back."""

    settings: Generation
    limits: Sequence[int]
    stop: Sequence[int]
    numbers: np.ndarray | None
    """(rows, tokens), by which is drawn; None: the likeliest token follows."""

    def run(self, reader: Reader, scores: Tensor, texts: Tensor) -> list[Written]:
        """Write each row to its end, which then is read no more."""
        ids: list[list[int]] = [[] for _ in self.limits]
        sums = [0.0] * len(ids)
        going = list(range(len(ids)))
        while True:
            step = len(ids[going[0]])
            chosen = self._chosen(scores, texts, step, going)
            logs = scores.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
            for row, token, log in zip(going, chosen.tolist(), logs.tolist(), strict=True):
                ids[row].append(token)
                sums[row] += log
            on = [i for i, row in enumerate(going) if not self._ended(row, ids[row])]
            going = [going[i] for i in on]
            if not going:
                return [Written(tuple(own), total) for own, total in zip(ids, sums, strict=True)]
            reader.reorder(on, on)
            texts = torch.cat([texts[on], chosen[on, None]], 1)
            scores = reader.read([ids[row][-1:] for row in going])

    def _chosen(self, scores: Tensor, texts: Tensor, step: int, going: list[int]) -> Tensor:
        scores = constrained(scores, texts, step, self.stop, self.settings)
        if self.numbers is None:
            return scores.argmax(-1)
        numbers = torch.from_numpy(self.numbers[going, step]).to(scores.device)
        return drawn(narrowed(scores, self.settings), numbers)

    def _ended(self, row: int, ids: list[int]) -> bool:
        return ids[-1] in self.stop or len(ids) >= self.limits[row]


@dataclass(slots=True)
class _Search:
    """The beams of one text, the best first."""

    settings: Generation
    limit: int
    stop: Sequence[int]
    running: list[Written] = field(default_factory=lambda: [Written((), 0.0)])
    """With the plain sums of logarithms."""
    finished: list[Written] = field(default_factory=list)
    """With the length penalty."""

    def step(self, candidates: Sequence[tuple[float, int, int]]) -> list[int]:
        """Take the best continuations: sum, beam and token; tell the beams that go on, if any.

        One that ends counts only if it is among the first, as many as there are beams.
        """
        count, before, origins = self.settings.num_beams, self.running, list[int]()
        self.running = []
        for rank, (total, beam, token) in enumerate(candidates):
            ids = (*before[beam].ids, token)
            if token in self.stop or len(ids) >= self.limit:
                if rank < count:
                    self.finished.append(Written(ids, self._penalised(total, len(ids))))
            elif len(origins) < count:
                self.running.append(Written(ids, total))
                origins.append(beam)
        self.finished = sorted(self.finished, key=lambda one: -one.score)[:count]
        return origins if origins and self._may_improve() else []

    def _may_improve(self) -> bool:
        """Tell whether a running beam may come to be better than the worst finished one."""
        early, best = self.settings.early_stopping, self.running[0]
        if len(self.finished) < self.settings.num_beams:
            return True
        if early is True:
            return False
        longest = early == "never" and self._power() > 0
        length = self.limit if longest else len(best.ids)
        return self._penalised(best.score, length) > self.finished[-1].score

    def _penalised(self, total: float, length: int) -> float:
        divisor: float = length ** self._power()
        return total / divisor

    def _power(self) -> float:
        power = self.settings.length_penalty
        return 1.0 if power is None else power


def _beams(
    reader: Reader,
    scores: Tensor,
    texts: Tensor,
    settings: Generation,
    limits: Sequence[int],
    stop: Sequence[int],
) -> list[list[Written]]:
    """Search for the best texts; one that has them is read no more.

    Enough candidates are taken that there are as many beams as before, whichever of them end.
    """
    count = max(2, 1 + len(stop)) * settings.num_beams
    if count > scores.shape[1]:
        raise UserError(
            f"num_beams is {settings.num_beams}, too many for a vocabulary of {scores.shape[1]}"
        )
    searches = [_Search(settings, limit, stop) for limit in limits]
    going = searches
    while True:
        step = len(going[0].running[0].ids)
        logs = constrained(scores.log_softmax(-1), texts, step, stop, settings)
        sums = torch.tensor([one.score for own in going for one in own.running])
        best = (logs + sums[:, None].to(logs)).view(len(going), -1).topk(count)  # (texts, count)
        places = best.indices
        beams, tokens = places // scores.shape[1], places % scores.shape[1]
        rows, on, width = list[int](), list[int](), len(logs) // len(going)
        for number, own in enumerate(going):
            found = zip(
                *(part[number].tolist() for part in (best.values, beams, tokens)), strict=True
            )
            if origins := own.step(list(found)):
                on.append(number)
                rows += [number * width + beam for beam in origins]
        going = [going[number] for number in on]
        if not going:
            return [own.finished[: settings.num_return_sequences] for own in searches]
        new = [[one.ids[-1]] for own in going for one in own.running]
        reader.reorder(rows, on)
        texts = torch.cat([texts[rows], torch.tensor(new, device=texts.device)], 1)
        scores = reader.read(new)
