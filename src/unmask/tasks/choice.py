"""Multiple choice: which of several endings fits a context.

Each ending makes a sequence, of BERT `[CLS] context [SEP] ending [SEP]`; the state of the token
that stands for it, `[CLS]`, goes through the pooler to one score, and the scores of a context's
endings compete in a softmax (Devlin et al. 2019, section 4.4). M windows of a batch, N endings of a
record.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unmask.contracts import Labelled, Metric, Prediction, Record
from unmask.data import windows as laying
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part, grouped_cross_entropy
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.scores.accuracy import Accuracy
from unmask.text.columns import Columns, label, texts
from unmask.text.rows import Row, read_rows
from unmask.text.tokenizer import Tokenizer

CONTEXTS = (
    ("text",),
    ("sentence",),
    ("startphrase",),
    ("question",),
    ("context",),
    ("context", "question"),
    ("article", "question"),
)
"""Usual names of the columns of the context; a question behind it begins every ending."""
CHOICES = ("choices", "endings", "options")
"""Usual names of the column that lists the endings."""
NUMBERED = re.compile(r"(?:choice|ending|option)_?(\d+)")
"""Usual names of columns that hold one ending each."""
LABELS = ("label", "answer")
"""Usual names of the column of the right one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice(Record):
    """A context and its possible endings; its label is the number of the right one, from 0."""

    context: str
    choices: tuple[str, ...]
    question: str = ""
    """What stands before each ending."""

    @property
    def endings(self) -> list[str]:
        """The endings as the model reads them."""
        return [f"{self.question} {ending}".strip() for ending in self.choices]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending(Window):
    """A context, or a part of it, with one of its endings."""

    number: int
    """Of the ending among its record's, from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipleChoice:
    """Find the ending that fits a context."""

    reading: Reading
    labels: tuple[str, ...] = ()
    ranked: bool = True

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task: nothing."""
        return {}

    def windows(self, records: Sequence[Choice], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each record: all its endings, with each part of its context in turn."""
        written = [text for record in records for text in (record.context, *record.endings)]
        ids = iter(tokenizer.encode_batch(written))
        return [
            self._windows(record, next(ids), [next(ids) for _ in record.choices], tokenizer)
            for record in records
        ]

    def _windows(
        self, record: Choice, context: list[int], endings: list[list[int]], tokenizer: Tokenizer
    ) -> list[Window]:
        """Cut the context to the room that an ending leaves it, or to the least of these rooms."""
        room = tokenizer.room(self.reading.length, 2)
        kept = [laying.shorten(len(context), len(ending), room) for ending in endings]
        parts = [[(0, of_context) for of_context, _ in kept]]
        if self.reading.long == "windows":
            least = max(1, min(of_context for of_context, _ in kept))
            found = laying.sliding(len(context), least, min(self.reading.stride, least // 2))
            parts = [[part] * len(endings) for part in found]
        laid: list[Window] = []
        for part in parts:
            for number, (start, end) in enumerate(part):
                ending, (of_context, of_ending) = endings[number], kept[number]
                lost = of_context < len(context) and self.reading.long == "truncate"
                laid.append(
                    Ending(
                        laid=tokenizer.lay(context[start:end], ending[:of_ending]),
                        target=record.label,
                        cut=lost or of_ending < len(ending),
                        number=number,
                    )
                )
        return laid

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Keep the endings of a record together, for each part of its context."""
        starts = [*_starts(windows), len(windows)]
        return [windows[start:end] for start, end in pairwise(starts)]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end; a label for each group of endings: (groups,) int64."""
        tokens = laying.lay(windows)
        starts = _starts(windows)
        sizes = tuple(end - start for start, end in pairwise([*starts, len(windows)]))
        targets = [windows[start].target for start in starts]
        rows = laying.summaries(windows, tokens.layout)
        if targets[0] is None:
            return Labelled(tokens, rows, None, sizes)
        labels, counts = torch.tensor(targets), {"task": len(sizes)}
        return Labelled(tokens, rows, labels, sizes, counts)

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Cross-entropy of the right ending among its record's."""
        assert batch.labels is not None, "training needs labels"
        scores = head.classify(encoder(batch.tokens), batch.rows)[:, 0]  # (M, 1) -> (M,)
        return {"task": grouped_cross_entropy(scores, batch.sizes, batch.labels)}

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> list[Tensor]:
        """Score each window: (1,)."""
        return list(head.classify(encoder(batch.tokens), batch.rows).float().unbind())

    def combine(
        self, record: Choice, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Average each ending's scores over the parts of the context, and rank the endings."""
        parts = torch.cat(list(outputs)).view(-1, len(record.choices))  # (M,) -> (parts, N)
        best = parts.mean(0).softmax(0).topk(min(top_k, len(record.choices)))
        results = [
            {"choice": record.choices[index], "index": index, "score": score}
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        return Prediction(
            results=results,
            answer=results[0]["index"],
            confidence=results[0]["score"],
            cut=any(window.cut for window in windows),
        )

    def metric(self) -> Metric:
        """Begin an evaluation."""
        return Accuracy()

    def written(self, pairs: Iterable[tuple[Choice, Prediction]]) -> Iterator[str]:
        """Write a TSV of index and prediction, which is the number of an ending."""
        yield "index\tprediction\n"
        for index, (_, prediction) in enumerate(pairs):
            yield f"{index}\t{prediction.answer}\n"

    def shown(self, record: Choice) -> str:
        """Write the context and the endings."""
        return " | ".join([record.context, *record.endings])


@dataclass(frozen=True, kw_only=True, slots=True)
class MultipleChoiceKind:
    """The kind of task."""

    name: str = "multiple-choice"
    head: str = "multiple-choice"
    length: int = 512

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows."""
        return read_rows(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> Choice:
        """Understand a row. Raises UserError, naming it, when it lacks something."""
        found = texts(row, columns, CONTEXTS)
        if len(found) > 2:
            raise UserError(f"{row.place}: {len(found)} texts; give a context, and a question")
        choices = _choices(row)
        right = _number(label(row, columns, LABELS), choices, row.place) if labelled else None
        question = found[1] if len(found) == 2 else ""
        return Choice(
            place=row.place, context=found[0], question=question, choices=choices, label=right
        )

    def direct(self, value: Any, place: str) -> Choice:
        """Understand a context and its endings: a tuple of a text and a list, or a mapping."""
        if isinstance(value, tuple) and len(value) == 2:
            value = {"context": value[0], "choices": value[1]}
        if not isinstance(value, Mapping):
            raise UserError(f"{place}: {value!r} is not a context with a list of choices")
        return self.record(Row(place, dict(value), None), Columns(), False)

    def learn(
        self,
        records: Iterable[Choice],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> MultipleChoice:
        """Make the task; endings need no names. Raises UserError for weights."""
        if weights is not None:
            raise UserError("class weights are for tasks with labels; choices have none")
        return MultipleChoice(reading=reading)

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> MultipleChoice:
        """Make the task that a saved model was fine-tuned for."""
        return MultipleChoice(reading=reading)


TASK = MultipleChoiceKind()


def _starts(windows: Sequence[Window]) -> list[int]:
    """Find where the first endings of records stand."""
    numbers = [window.number for window in windows if isinstance(window, Ending)]
    return [place for place, number in enumerate(numbers) if number == 0]


def _choices(row: Row) -> tuple[str, ...]:
    """Find the endings of a row: listed in one column, or in numbered ones."""
    listed = next((row.fields[name] for name in CHOICES if name in row.fields), None)
    if listed is None:
        numbered = {
            int(match[1]): name for name in row.fields if (match := NUMBERED.fullmatch(name))
        }
        listed = [row.fields[numbered[number]] for number in sorted(numbered)]
        if not listed:
            raise UserError(
                f"{row.place}: no column {' or '.join(CHOICES)}, nor choice0, choice1 and so on,"
                f" only {', '.join(map(repr, row.fields)) or 'nothing'}"
            )
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        raise UserError(f"{row.place}: the choices are {listed!r}, not a list of texts")
    if len(listed) < 2:
        raise UserError(f"{row.place}: there is only the choice {listed!r}; give at least two")
    return tuple(listed)


def _number(value: Any, choices: tuple[str, ...], place: str) -> int:
    """Number the right choice, which is named by its text or by its number from 0."""
    if value in choices:
        return choices.index(value)
    decimal = isinstance(value, str) and value.isdecimal()
    number = (
        int(value) if decimal or (isinstance(value, int) and not isinstance(value, bool)) else -1
    )
    if not 0 <= number < len(choices):
        raise UserError(
            f"{place}: the label {value!r} is no choice; give its text, or its number, 0 to"
            f" {len(choices) - 1}"
        )
    return number
