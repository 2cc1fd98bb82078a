"""Token classification: a label for each word, as in named entities, chunks and parts of speech.

The state of a word's first piece goes to one score for each label (Devlin et al. 2019, section
5.3). n tokens of a window, m words in it, M words of a batch, T tokens, W width, K labels.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.contracts import Labelled, Metric, Prediction, Record
from unmask.data import windows as laying
from unmask.data.weights import weigh
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part, cross_entropy
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.scores.entities import Entities
from unmask.text.columns import Columns, label, texts
from unmask.text.conll import read_conll
from unmask.text.iob import CHUNK, OUTSIDE, grouped, iob2
from unmask.text.reading import form
from unmask.text.rows import Row, read_rows
from unmask.text.tokenizer import Tokenizer
from unmask.text.words import words

WORDS = ("words", "tokens", "text", "sentence")
"""Usual names of the column of the words, or of the text that they are found in."""
LABELS = ("labels", "tags", "ner_tags", "label")
"""Usual names of the column of their labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledWords(Record):
    """A text of which some stretches are words, and their labels: a tuple of names."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """The characters of each word: from, up to but not including."""

    @property
    def words(self) -> list[str]:
        """The words themselves."""
        return [self.text[start:end] for start, end in self.spans]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence(Window):
    """A window of a text of words."""

    rows: np.ndarray
    """(m,) int64, the first piece of each word that begins in the window, among its tokens."""
    words: np.ndarray
    """(m,) int64, which words those are."""
    own: np.ndarray
    """(m,) bool, the words that have their most context in this window."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagging:
    """Find the label of each word."""

    reading: Reading
    labels: tuple[str, ...]
    """In IOB2 where labels make entities."""
    weights: tuple[float, ...] | None = None
    """How much a word counts in training, by its label."""
    ranked: bool = False

    @property
    def plain(self) -> bool:
        """Whether labels make no entities, as those of parts of speech."""
        return not any(CHUNK.fullmatch(name) for name in self.labels)

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task: nothing but the labels."""
        return {}

    def windows(self, records: Sequence[LabelledWords], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each text. Raises UserError for a label that is not among the task's."""
        words = [
            tokenizer.joint * (number > 0) + word
            for record in records
            for number, word in enumerate(record.words)
        ]
        pieces = iter(tokenizer.encode_batch(words))
        return [
            self._windows(record, [next(pieces) for _ in record.spans], tokenizer)
            for record in records
        ]

    def _windows(
        self, record: LabelledWords, pieces: list[list[int]], tokenizer: Tokenizer
    ) -> list[Window]:
        ids = [piece for word in pieces for piece in word]
        firsts = np.array([0, *accumulate(len(word) for word in pieces)][:-1], dtype=np.int64)
        known = np.array([i for i, word in enumerate(pieces) if word], dtype=np.int64)
        firsts, targets = firsts[known], self._targets(record)
        room = tokenizer.room(self.reading.length, 1)
        parts = laying.sliding(len(ids), room, min(self.reading.stride, room // 2))
        best = laying.richest(parts, len(ids))[firsts]  # (words,)
        found: list[Window] = []
        for number, (start, end) in enumerate(parts):
            inside = (firsts >= start) & (firsts < end)
            laid = tokenizer.lay(ids[start:end])
            found.append(
                Sentence(
                    laid=laid,
                    target=None if targets is None else targets[known[inside]],
                    rows=firsts[inside] - start + laid.starts[0],
                    words=known[inside],
                    own=best[inside] == number,
                )
            )
        return found

    def _targets(self, record: LabelledWords) -> np.ndarray | None:
        """Number the labels of a text.

        They are IOB2. A model of other makers may know a type by other labels: any of them counts.
        """
        if record.label is None:
            return None
        numbers = _numbers(self.labels)
        found = [numbers.get(name, numbers.get(name[1:])) for name in record.label]
        for word, name, number in zip(record.words, record.label, found, strict=True):
            if number is None:
                raise UserError(
                    f"{record.place}: label {name!r} of {word!r} is unknown; there are"
                    f" {', '.join(self.labels)}"
                )
        return np.array(found, dtype=np.int64)

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be trained on by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end; labels are (M,) int64."""
        tokens = laying.lay(windows)
        sentences = [window for window in windows if isinstance(window, Sentence)]
        starts = tokens.layout.first.tolist()
        rows = [one.rows + start for one, start in zip(sentences, starts, strict=True)]
        sizes = tuple(len(one.rows) for one in sentences)
        read = torch.from_numpy(np.concatenate(rows))  # (M,)
        if windows[0].target is None:
            return Labelled(tokens, read, None, sizes)
        labels = np.concatenate([one.target for one in sentences])  # (M,)
        weight = len(labels) if self.weights is None else float(np.take(self.weights, labels).sum())
        return Labelled(tokens, read, torch.from_numpy(labels), sizes, {"task": weight})

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Cross-entropy of each word's label."""
        assert batch.labels is not None, "training needs labels"
        scores = head.classify(encoder(batch.tokens), batch.rows)  # (M, K)
        weights = None if self.weights is None else scores.new_tensor(self.weights).float()
        return {"task": cross_entropy(scores, batch.labels, weights)}

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> list[Tensor]:
        """Score each label for each word of each window: (m, K)."""
        scores = head.classify(encoder(batch.tokens), batch.rows).float()  # (M, K)
        return list(scores.split(batch.sizes))  # type: ignore[no-untyped-call]

    def combine(
        self,
        record: LabelledWords,
        windows: Sequence[Window],
        outputs: Sequence[Tensor],
        top_k: int,
    ) -> Prediction:
        """Take each word's label from the window where it has most context.

        A word without any piece that the model could read belongs to nothing. The labels are
        brought to IOB2, which models of other makers may not know.
        """
        answer, shares = [OUTSIDE] * len(record.spans), [1.0] * len(record.spans)
        for window, scores in zip(windows, outputs, strict=True):
            assert isinstance(window, Sentence), "made by `windows`"
            best = scores.softmax(-1).max(-1)  # (m,)
            found = zip(
                window.words[window.own].tolist(),
                best.values[window.own].tolist(),
                best.indices[window.own].tolist(),
                strict=True,
            )
            for word, share, number in found:
                answer[word], shares[word] = self.labels[number], share
        return Prediction(
            results=_results(record, answer, shares),
            answer=iob2(answer),
            confidence=float(np.prod(shares)),
        )

    def metric(self) -> Metric:
        """Begin an evaluation."""
        return Entities(self.labels, self.plain)

    def written(self, pairs: Iterable[tuple[LabelledWords, Prediction]]) -> Iterator[str]:
        """Write predictions as CoNLL has them: word, label, predicted label; `-` for none."""
        for record, prediction in pairs:
            labels = record.label or ["-"] * len(record.spans)
            for line in zip(record.words, labels, prediction.answer, strict=True):
                yield " ".join(line) + "\n"
            yield "\n"

    def shown(self, record: LabelledWords) -> str:
        """Write the text."""
        return record.text


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenClassification:
    """The kind of task."""

    name: str = "token-classification"
    head: str = "token-classification"
    length: int = 512

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows (.jsonl, .parquet), or of CoNLL columns under any other name."""
        return read_rows(path) if form(path) in (".jsonl", ".parquet") else read_conll(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> LabelledWords:
        """Understand a row of words, or of a text. Raises UserError when it lacks something."""
        text, spans = _read(row, columns)
        if not labelled:
            return LabelledWords(place=row.place, text=text, spans=spans)
        names = label(row, columns, LABELS)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{row.place}: the labels are {names!r}, not a list of names")
        if len(names) != len(spans) or not names:
            raise UserError(
                f"{row.place}: {len(names)} labels for {len(spans)} words; give each word its own"
            )
        return LabelledWords(place=row.place, text=text, spans=spans, label=iob2(names))

    def direct(self, value: Any, place: str) -> LabelledWords:
        """Understand a text, a list of words, or a mapping of columns."""
        if not isinstance(value, str | list | Mapping):
            raise UserError(f"{place}: {value!r} is neither a text nor a list of words")
        fields = value if isinstance(value, Mapping) else {"words": value}
        return self.record(Row(place, dict(fields), None), Columns(), False)

    def learn(
        self,
        records: Iterable[LabelledWords],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> Tagging:
        """Collect the labels: of each type its first and its further words, or plain names.

        Raises UserError where some labels make entities and others do not, and where there are
        fewer than two.
        """
        first: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for record in records:
            counts.update(record.label)
            first |= {name: record.place for name in record.label if name not in first}
        types = {match[2] for name in first if (match := CHUNK.fullmatch(name))}
        others = [name for name in sorted(first) if name != OUTSIDE and not CHUNK.fullmatch(name)]
        if types and others:
            raise UserError(
                f"{first[others[0]]}: label {others[0]!r} is neither {OUTSIDE} nor of the form"
                f" B-{sorted(types)[0]}, as others are; give all words labels of one kind"
            )
        names = [OUTSIDE, *(f"{part}-{type_}" for type_ in sorted(types) for part in "BI")]
        labels = tuple(names) if types else tuple(sorted(first))
        if len(labels) < 2:
            raise UserError(
                f"{next(iter(first.values()), 'the training file')}: all words have the same label"
                f" {', '.join(first)}; there must be at least two to tell apart"
            )
        return Tagging(reading=reading, labels=labels, weights=weigh(weights, labels, counts))

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> Tagging:
        """Make the task that a saved model was fine-tuned for."""
        return Tagging(reading=reading, labels=labels)


TASK = TokenClassification()


@cache
def _numbers(labels: tuple[str, ...]) -> dict[str, int]:
    """Number labels by their names, and types, as `-PER`, by a label of theirs."""
    types = {name[1:]: number for number, name in enumerate(labels) if CHUNK.match(name)}
    return types | {name: number for number, name in enumerate(labels)}


def _read(row: Row, columns: Columns) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Find the words of a row, which are listed or stand in a text: the text, and where they are.

    Listed words are joined by blanks.
    """
    names = columns.text or WORDS
    given = next((row.fields[name] for name in names if name in row.fields), None)
    if not isinstance(given, list):
        (text, *_) = texts(row, columns, [(name,) for name in WORDS])
        return text, tuple(words(text))
    if not all(isinstance(word, str) for word in given):
        raise UserError(f"{row.place}: the words are {given!r}, not a list of texts")
    ends = accumulate((len(word) + 1 for word in given), initial=0)
    spans = tuple((end, end + len(word)) for end, word in zip(ends, given, strict=False))
    return " ".join(given), spans


def _results(
    record: LabelledWords, answer: Sequence[str], shares: Sequence[float]
) -> list[dict[str, Any]]:
    """Describe the entities, as transformers' aggregation "simple" does."""
    results = []
    for type_, group in grouped(answer):
        start, end = record.spans[group[0]][0], record.spans[group[-1]][1]
        results.append(
            {
                "entity_group": type_,
                "score": float(np.mean([shares[word] for word in group])),
                "word": record.text[start:end],
                "start": start,
                "end": end,
            }
        )
    return results
