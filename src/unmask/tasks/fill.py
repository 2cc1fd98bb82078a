"""Filling masks: what stands behind each `[MASK]` of a text.

It is what pre-training teaches (Devlin et al. 2019, section 3.1), and so there is nothing to
fine-tune. m masks of a window, M masks of a batch, W width, V entries of the vocabulary.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from unmask.contracts import Labelled, Metric, Prediction, Record
from unmask.data import windows as laying
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.scores.accuracy import Accuracy
from unmask.text.columns import Columns, label, texts
from unmask.text.rows import Row, read_rows
from unmask.text.tokenizer import MASK, Tokenizer

TEXTS = (("text",), ("sentence",))
"""Usual names of the column of the text."""
LABELS = ("label", "labels", "answer")
"""Usual names of the column of the words behind the masks."""
BATCH_MASKS = 256
"""Masks whose (M, V) shares are held at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloze(Record):
    """A text with masks; its label is a tuple of the words behind them."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Blanks(Window):
    """A text with masks, or the part of it around them; its target is the right ids, if known."""

    masks: np.ndarray
    """(m,) int64, where the masks stand among the ids."""
    tokenizer: Tokenizer
    """What the ids are of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskFilling:
    """Find what stands behind masks."""

    reading: Reading
    labels: tuple[str, ...] = ()
    ranked: bool = False

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task: nothing."""
        return {}

    def windows(self, records: Sequence[Cloze], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each text, of a long one the part around its masks.

        Raises UserError for masks too far apart to be read at once, and for a label of several
        pieces.
        """
        return [[self._window(record, tokenizer)] for record in records]

    def _window(self, record: Cloze, tokenizer: Tokenizer) -> Window:
        ids = tokenizer.encode(record.text, masks=True).ids
        masks = [place for place, token in enumerate(ids) if token == tokenizer.mask]
        room = tokenizer.room(self.reading.length, 1)
        span = masks[-1] + 1 - masks[0]
        if span > room:
            raise UserError(
                f"{_at(record.place)}the masks of {_short(record.text)} stand {span:,} tokens"
                f" apart, but the model reads {self.reading.length:,}; divide the text"
            )
        start = min(max(0, masks[0] - (room - span) // 2), max(0, len(ids) - room))
        laid = tokenizer.lay(ids[start : start + room])
        return Blanks(
            laid=laid,
            target=_pieces(record, tokenizer),
            cut=len(ids) > room,
            masks=np.array(masks) - start + laid.starts[0],
            tokenizer=tokenizer,
        )

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be read by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end; the rows are those of their masks."""
        tokens = laying.lay(windows)
        masks = [window.masks for window in windows if isinstance(window, Blanks)]
        starts = tokens.layout.first.tolist()
        rows = [own + start for own, start in zip(masks, starts, strict=True)]
        sizes = tuple(len(own) for own in masks)
        return Labelled(tokens, torch.from_numpy(np.concatenate(rows)), None, sizes)

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Raise UserError: this is learned in pre-training."""
        _refuse()

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> Iterator[Tensor]:
        """Give the probability of each entry for each mask of each window: (m, V)."""
        assert head.masked is not None, "who takes the task has looked at the head"
        hidden = encoder(batch.tokens)  # (T, W)
        end = 0
        for sizes in _groups(batch.sizes):
            begin, end = end, end + sum(sizes)
            scores = head.masked(hidden[batch.rows[begin:end]]).float()  # (masks, V)
            yield from scores.softmax(-1).split(sizes)

    def combine(
        self, record: Cloze, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Rank the fillings of each mask: a list, or a list for each where there are several.

        A sequence has the other masks, and so the special tokens, in it where there are several.
        """
        ((window,), (shares,)) = windows, outputs
        assert isinstance(window, Blanks), "made by `windows`"
        words, ids = window.tokenizer, window.ids.tolist()
        best = shares[:, : words.vocab_size].topk(min(top_k, words.vocab_size))  # (m, top_k)
        alone = len(window.masks) == 1
        left_out = set(words.special.tolist()) if alone else set()

        def filling(mask: int, score: float, token: int) -> dict[str, Any]:
            """Tell of one token in the place of a mask, as transformers' pipeline does."""
            filled = [*ids[:mask], token, *ids[mask + 1 :]]
            return {
                "score": score,
                "token": token,
                "token_str": words.decode([token]),
                "sequence": words.decode([i for i in filled if i not in left_out]),
            }

        results: list[Any] = [
            [filling(mask, *pair) for pair in zip(*ranks, strict=True)]
            for mask, *ranks in zip(
                window.masks.tolist(), best.values.tolist(), best.indices.tolist(), strict=True
            )
        ]
        return Prediction(
            results=results[0] if alone else results,
            answer=_answer(record, window, [ranked[0] for ranked in results]),
            confidence=float(best.values[:, 0].prod()),
            cut=window.cut,
        )

    def metric(self) -> Metric:
        """Begin an evaluation: a record is right where all its words are."""
        return Accuracy()

    def written(self, pairs: Iterable[tuple[Cloze, Prediction]]) -> Iterator[str]:
        """Write a TSV of index and prediction: the words, between blanks."""
        yield "index\tprediction\n"
        for index, (_, prediction) in enumerate(pairs):
            yield f"{index}\t{' '.join(prediction.answer)}\n"

    def shown(self, record: Cloze) -> str:
        """Write the text."""
        return record.text


@dataclass(frozen=True, kw_only=True, slots=True)
class FillMask:
    """The kind of task."""

    name: str = "fill-mask"
    head: str = "masked-lm"
    length: int = sys.maxsize  # as long as the model reads

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows."""
        return read_rows(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> Cloze:
        """Understand a row. Raises UserError, naming it, when it lacks something."""
        (text, *_) = texts(row, columns, TEXTS)
        record = self.direct(text, row.place)
        if not labelled:
            return record
        given = label(row, columns, LABELS)
        words = given if isinstance(given, list) else [given]
        if not all(isinstance(word, str) for word in words) or len(words) != text.count(MASK):
            raise UserError(
                f"{row.place}: the label is {given!r}; give the word behind each of the"
                f" {text.count(MASK)} masks"
            )
        return Cloze(place=row.place, text=text, label=tuple(words))

    def direct(self, value: Any, place: str) -> Cloze:
        """Understand a text with masks, or a mapping of columns."""
        if isinstance(value, Mapping):
            return self.record(Row(place, dict(value), None), Columns(), False)
        if not isinstance(value, str):
            raise UserError(f"{_at(place)}{value!r} is not a text")
        if MASK not in value:
            raise UserError(
                f"{_at(place)}no [MASK] in {_short(value)}; put one where a word is to be found"
            )
        return Cloze(place=place, text=value)

    def learn(
        self,
        records: Iterable[Cloze],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> MaskFilling:
        """Raise UserError: this is learned in pre-training."""
        _refuse()

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> MaskFilling:
        """Make the task."""
        return MaskFilling(reading=reading)


TASK = FillMask()


def _refuse() -> NoReturn:
    raise UserError(
        "fill-mask is not fine-tuned; to go on learning it from text, use `unmask pretrain --model`"
    )


def _groups(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Divide windows with so many masks each into groups of at most BATCH_MASKS, or of one."""
    group: list[int] = []
    for size in sizes:
        if group and sum(group) + size > BATCH_MASKS:
            yield group
            group = []
        group.append(size)
    if group:
        yield group


def _pieces(record: Cloze, tokenizer: Tokenizer) -> tuple[int, ...] | None:
    """Find the ids of the words behind the masks."""
    if record.label is None:
        return None
    before = record.text.split(MASK)
    pieces = tokenizer.encode_batch(
        [
            tokenizer.joint * ahead.endswith(" ") + word
            for ahead, word in zip(before, record.label, strict=False)
        ]
    )
    for word, ids in zip(record.label, pieces, strict=True):
        if len(ids) != 1:
            raise UserError(
                f"{_at(record.place)}label {word!r} is {len(ids)} pieces of the vocabulary; a mask"
                " stands for one"
            )
    return tuple(ids[0] for ids in pieces)


def _answer(record: Cloze, window: Window, best: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the best words, those that are right as the label spells them."""
    if window.target is None:
        return tuple(one["token_str"] for one in best)
    return tuple(
        word if one["token"] == right else one["token_str"]
        for word, one, right in zip(record.label, best, window.target, strict=True)
    )


def _at(place: str) -> str:
    """Begin an error with its place, where there is one to name."""
    return f"{place}: " if place else ""


def _short(text: str) -> str:
    """Quote a text, or the beginning of a long one."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
