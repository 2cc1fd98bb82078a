"""Tasks in which a text is written of another: what translation and summarization share.

An encoder reads the source, a decoder writes. In training the decoder sees the right text up to
each place and has to say what follows (teacher forcing); of its labels a share of the probability
is spread over the vocabulary (Vaswani et al. 2017, section 5.4). B windows of a batch, T tokens to
be written in them, N texts written of one window, L tokens of the longest.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from unmask import config
from unmask.contracts import Labelled, Metric, Prediction, Record
from unmask.data import windows as laying
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part
from unmask.model.generation import OF_BEAMS, Writing
from unmask.model.heads import Head
from unmask.model.search import ROWS, Written, generate
from unmask.model.transformer import Transformer
from unmask.text.tokenizer import Tokenizer
from unmask.tokens import Layout, Tokens

OF_TASKS = "task_specific_params"
"""Key of config.json under which settings of generation stand, by the name of the task."""
OFF: Mapping[str, Any] = {
    "min_new_tokens": 0,
    "length_penalty": 1,
    "early_stopping": False,
    "repetition_penalty": 1,
    "no_repeat_ngram_size": 0,
}
"""Values with which settings that others saved change nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source(Record):
    """A text of which another is written; its label is that text, or a list of them."""

    text: str

    @property
    def target(self) -> str | None:
        """The text that training wants."""
        first: str | None = self.label[0] if isinstance(self.label, list) else self.label
        return first


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair(Window):
    """A text that is read, and in `target` the ids of what is to be written: (n,) int64."""

    tokenizer: Tokenizer
    begin: int
    """The token with which the decoder begins."""
    ends: tuple[int, ...]
    """Tokens that end a text; the first one is learned."""

    @property
    def size(self) -> int:
        """Tokens on both sides."""
        return len(self.ids) + (0 if self.target is None else len(self.target))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewriting(ABC):
    """Write a text of each text."""

    reading: Reading
    writing: Writing = field(default_factory=Writing)
    smoothing: float = 0.0
    """Share of a label's probability that all entries of the vocabulary get in training."""
    begin: int | None = field(default=None, compare=False)
    """The token that the decoder begins with; None: that which begins every text."""
    ends: tuple[int, ...] = field(default=(), compare=False)
    """Tokens that end a text; none: that which ends every text."""
    labels: tuple[str, ...] = ()
    ranked: bool = True
    name: ClassVar[str]
    key: ClassVar[str]
    """Of a text in results, as transformers' pipeline has it."""

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task."""
        told = {name: value for name, value in asdict(self.writing).items() if value is not None}
        return {OF_TASKS: {self.name: told}}

    def windows(self, records: Sequence[Source], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each record; what is too long on either side loses its end."""
        begin = tokenizer.cls if self.begin is None else self.begin
        ends = self.ends or (() if tokenizer.sep is None else (tokenizer.sep,))
        if begin is None or not ends:
            raise UserError(
                "the vocabulary has no tokens that begin and end a text; take a tokenizer that has"
            )
        sources = tokenizer.encode_batch([record.text for record in records])
        targets = tokenizer.encode_batch([record.target or "" for record in records])
        room, most = tokenizer.room(self.reading.length, 1), self.writing.max_new_tokens - 1
        return [
            [
                Pair(
                    laid=tokenizer.lay(source[:room]),
                    target=None if record.label is None else np.array([*target[:most], ends[0]]),
                    cut=len(source) > room,
                    shortened=len(target) > most,
                    tokenizer=tokenizer,
                    begin=begin,
                    ends=ends,
                )
            ]
            for record, source, target in zip(records, sources, targets, strict=True)
        ]

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be trained on by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay both sides end to end; labels are (T,), what follows each token that is seen."""
        pairs = [window for window in windows if isinstance(window, Pair)]
        source, first = laying.lay(pairs), pairs[0]
        known = [pair.target for pair in pairs if pair.target is not None]
        seen = [np.array([first.begin, *target[:-1]]) for target in known]
        seen = seen or [np.array([first.begin])] * len(pairs)  # what is to be written is not known
        ids = torch.from_numpy(np.concatenate(seen)).long()
        tokens = Tokens(ids, Layout.of([len(own) for own in seen]), source=source)
        rows = torch.arange(len(ids))
        if not known:
            return Labelled(tokens, rows, None, ends=first.ends)
        labels = torch.from_numpy(np.concatenate(known)).long()
        return Labelled(tokens, rows, labels, counts={"task": len(ids)}, ends=first.ends)

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Cross-entropy of each token that is to be written."""
        assert batch.labels is not None, "training needs labels"
        assert head.following is not None, "the task needs a head that predicts what comes"
        return {"task": head.following.loss(encoder(batch.tokens), batch.labels, self.smoothing)}

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> Iterator[Tensor]:
        """Write of each window: (N, 1 + L), the mean logarithm of a token's probability, and ids.

        Texts that are shorter end in -1. A few windows at a time are written of, so that what is
        kept of them stays small.
        """
        assert head.following is not None, "the task needs a head that predicts what comes"
        assert batch.tokens.source is not None, "the task reads a source"
        settings, source = self.writing.settings(), batch.tokens.source
        begin = int(batch.tokens.ids[0])
        each = iter(torch.split(source.ids, list(source.layout.lengths)))
        while part := list(islice(each, max(1, ROWS // settings.num_beams))):
            written = generate(
                encoder,
                head.following,
                [[begin]] * len(part),
                settings,
                limits=[self.writing.max_new_tokens] * len(part),
                stop=batch.ends,
                source=Tokens(torch.cat(part), Layout.of([len(ids) for ids in part])),
            )
            yield from (_laid_out(found, self.writing) for found in written)

    def combine(
        self, record: Source, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Give the texts, the likeliest first: as many as there are beams, or fewer."""
        ((window,), (found,)) = windows, outputs
        assert isinstance(window, Pair), "made by `windows`"
        words = window.tokenizer
        special = {-1, *words.special.tolist()}
        written = [
            words.decode([token for token in ids if token not in special]).strip()
            for ids in found[:top_k, 1:].long().tolist()
        ]
        return Prediction(
            results=[{self.key: text} for text in written],
            answer=written[0],
            confidence=math.exp(float(found[0, 0])),
            cut=window.cut,
        )

    @abstractmethod
    def metric(self) -> Metric:
        """Begin an evaluation."""

    def written(self, pairs: Iterable[tuple[Source, Prediction]]) -> Iterator[str]:
        """Write a text a line."""
        return lines(prediction for _, prediction in pairs)

    def shown(self, record: Source) -> str:
        """Write the text that is read."""
        return record.text

    @classmethod
    def restored(cls, settings: Mapping[str, Any], reading: Reading) -> Self:
        """Make the task that a saved model was fine-tuned for, as its settings say."""
        told = _writing(of_task(settings, cls.name) or settings)
        return cls(reading=reading, writing=config.load(Writing, [("how it writes", told)]))


def lines(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Write the text of each prediction on a line of its own."""
    for prediction in predictions:
        yield " ".join(prediction.answer.split()) + "\n"


def filled(value: Any, place: str) -> str:
    """Take a text that is to be written. Raises UserError for one of blanks, and for none."""
    if not isinstance(value, str):
        raise UserError(f"{place}: {value!r} is what should be written, but no text")
    if not value.strip():
        raise UserError(f"{place}: the text that should be written is empty; leave the row out")
    return value


def unweighted(weights: object) -> None:
    """Raise UserError for class weights."""
    if weights is not None:
        raise UserError("class weights are for tasks with labels; texts have none")


def of_task(settings: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """Give the settings of generation that a model was saved with for a task, if there are any."""
    found = settings.get(OF_TASKS)
    own = found.get(name) if isinstance(found, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def token_ids(settings: Mapping[str, Any], name: str, pieces: int) -> tuple[int, ...]:
    """Read a token, or several, out of a config.json, or out of what it says of the decoder.

    Settings of others may name tokens that a small vocabulary has not; they are left out.
    """
    found = settings.get(name)
    if found is None:
        found = (settings.get("decoder") or {}).get(name)
    several = found if isinstance(found, list) else [found]
    return tuple(one for one in several if isinstance(one, int) and 0 <= one < pieces)


def _writing(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Name settings that were saved as `Writing` does, without those that change nothing.

    `max_length` and `min_length` count the token, too, that the decoder begins with. Where others
    say anything but no number of beams, theirs is 1.
    """
    lengths = {
        f"{most}_new_tokens": length - 1
        for most in ("max", "min")
        if isinstance(length := settings.get(f"{most}_length"), int)
    }
    known = {field.name for field in fields(Writing)}
    told = {**lengths, **{n: v for n, v in settings.items() if n in known and v is not None}}
    if told:
        told.setdefault("num_beams", 1)
    off = set(OF_BEAMS) if told.get("num_beams") == 1 else set()
    off |= {name for name, value in OFF.items() if told.get(name) == value}
    return {name: value for name, value in told.items() if name not in off}


def _laid_out(found: Sequence[Written], writing: Writing) -> Tensor:
    """Lay out the texts of a window as rows."""
    power = 1.0 if writing.length_penalty is None else writing.length_penalty
    alone = writing.num_beams == 1  # its score has no penalty for length in it
    longest = max(len(one.ids) for one in found)
    rows = torch.full((len(found), 1 + longest), -1.0, dtype=torch.float64)
    for row, one in zip(rows, found, strict=True):
        length = len(one.ids)
        row[0] = one.score * (1 if alone else length**power) / length
        row[1 : 1 + length] = torch.tensor(one.ids)
    return rows
