"""Regression: a number for a text or a pair of texts, such as how alike two sentences are.

The state of the token that stands for the sequence, of BERT `[CLS]`, goes through the pooler to one
score, which is the number (Devlin et al. 2019, section 4.1, on STS-B). M windows of a batch.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.contracts import Labelled, Metric, Prediction, Record
from unmask.data import windows as laying
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.scores.correlation import Correlation
from unmask.tasks.classify import one_or_two, plain
from unmask.text.columns import Columns, label, texts
from unmask.text.rows import Row, read_rows
from unmask.text.tokenizer import Tokenizer

LABELS = ("score", "similarity", "relatedness", "rating", "label")
"""Usual names of the column of the number."""
LABEL = "LABEL_0"
"""What the number is called, as transformers names the label of such a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured(Record):
    """A text or a pair; its label is a number."""

    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """Find the number of a text or a pair."""

    reading: Reading
    labels: tuple[str, ...] = (LABEL,)
    ranked: bool = True

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task."""
        return {"problem_type": "regression"}

    def windows(self, records: Sequence[Measured], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each record."""
        pairs, targets = [one.texts for one in records], [one.label for one in records]
        return laying.texts(pairs, targets, tokenizer, self.reading)

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be trained on by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end; labels are (M,) float32."""
        tokens = laying.lay(windows)
        rows = laying.summaries(windows, tokens.layout)
        targets = [window.target for window in windows]
        if targets[0] is None:
            return Labelled(tokens, rows, None)
        return Labelled(tokens, rows, torch.tensor(targets).float(), counts={"task": len(targets)})

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Squared error; no number counts as correct."""
        assert batch.labels is not None, "training needs labels"
        scores = head.classify(encoder(batch.tokens), batch.rows)[:, 0].float()  # (M, 1) -> (M,)
        total = F.mse_loss(scores, batch.labels, reduction="sum")
        return {"task": Part(total, total.new_zeros(()))}

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> list[Tensor]:
        """Give the number of each window: (1,)."""
        return list(head.classify(encoder(batch.tokens), batch.rows).float().unbind())

    def combine(
        self, record: Measured, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Average the windows' numbers."""
        number = float(torch.cat(list(outputs)).mean())
        return Prediction(
            results=[{"label": self.labels[0], "score": number}],
            answer=number,
            confidence=number,
            cut=any(window.cut for window in windows),
        )

    def metric(self) -> Metric:
        """Begin an evaluation."""
        return Correlation()

    def written(self, pairs: Iterable[tuple[Measured, Prediction]]) -> Iterator[str]:
        """Write predictions as GLUE wants them: a TSV of index and prediction."""
        yield "index\tprediction\n"
        for index, (_, prediction) in enumerate(pairs):
            yield f"{index}\t{prediction.answer:.6g}\n"

    def shown(self, record: Measured) -> str:
        """Write the text, or both of a pair."""
        return " | ".join(record.texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressionKind:
    """The kind of task."""

    name: str = "regression"
    head: str = "text-classification"
    length: int = 512

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows."""
        return read_rows(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> Measured:
        """Understand a row. Raises UserError, naming it, when it lacks something."""
        found = one_or_two(texts(row, columns), row.place)
        if not labelled:
            return Measured(place=row.place, texts=found)
        number = _number(label(row, columns, LABELS), row.place)
        return Measured(place=row.place, texts=found, label=number)

    def direct(self, value: Any, place: str) -> Measured:
        """Understand a text, a pair as a tuple, or a mapping of columns."""
        if isinstance(value, Mapping):
            return self.record(Row(place, dict(value), None), Columns(), False)
        return Measured(place=place, texts=plain(value, place))

    def learn(
        self,
        records: Iterable[Measured],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> Regression:
        """Make the task; numbers need no names. Raises UserError for weights."""
        if weights is not None:
            raise UserError("class weights are for tasks with labels; numbers have none")
        return Regression(reading=reading)

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> Regression:
        """Make the task that a saved model was fine-tuned for."""
        return Regression(reading=reading, labels=labels)


TASK = RegressionKind()


def _number(value: Any, place: str) -> float:
    """Read a number, which a table holds as a text."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"{place}: the label {value!r} is not a number; labels with names are for the task"
            " text-classification"
        ) from None
    if not math.isfinite(number):
        raise UserError(f"{place}: the label is {value!r}; give a finite number")
    return number
