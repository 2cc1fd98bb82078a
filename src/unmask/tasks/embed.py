"""Feature extraction: a vector for a text, or for each of its tokens; of two texts, how alike.

Vectors are taken from the hidden states as they are, so there is nothing to fine-tune. n tokens of
a window, W width.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.contracts import Labelled, Metric, Prediction
from unmask.data import windows as laying
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.scores.correlation import Correlation
from unmask.tasks.regress import TASK as REGRESSION
from unmask.tasks.regress import Measured
from unmask.text.columns import Columns
from unmask.text.rows import Row
from unmask.text.tokenizer import Tokenizer

Pooling = Literal["mean", "cls", "max"]
POOLINGS: Mapping[str | None, Any] = {
    "mean": lambda states, summary: states.mean(0),
    "cls": lambda states, summary: states[summary],
    "max": lambda states, summary: states.amax(0),
    None: lambda states, summary: states,
}
"""(n, W), and the token that stands for all -> (W,), or as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch(Window):
    """A text, or a part of it."""

    text: int
    """Which of the record's texts, from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """Give each text a vector, and compare two by the cosine of theirs."""

    reading: Reading
    pooling: Pooling | None = "mean"
    """Over the states of all tokens, `[CLS]` and `[SEP]` included, as sentence-transformers takes
    it; `cls` is the state of the token that stands for the sequence, of BERT `[CLS]`. None: the
    states themselves, of texts that are cut."""
    normalize: bool = False
    """Whether vectors get length 1."""
    labels: tuple[str, ...] = ()
    ranked: bool = False

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task: nothing."""
        return {}

    def windows(self, records: Sequence[Measured], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each record: the windows of its first text, then those of a second."""
        single = [(text,) for record in records for text in record.texts]
        laid = iter(laying.texts(single, [None] * len(single), tokenizer, self.reading))
        return [
            [
                Stretch(laid=window.laid, cut=window.cut, text=number)
                for number in range(len(record.texts))
                for window in next(laid)
            ]
            for record in records
        ]

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be read by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end."""
        tokens = laying.lay(windows)
        return Labelled(tokens, laying.summaries(windows, tokens.layout), None)

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Raise UserError: there is nothing to learn."""
        _refuse()

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> list[Tensor]:
        """Give the vector of each window (W,), or the states of its tokens (n, W).

        Of an encoder-decoder it is the encoder that reads them.
        """
        encoder = encoder.source or encoder
        hidden, lengths = encoder(batch.tokens).float(), batch.tokens.layout.lengths  # (T, W)
        summaries = (batch.rows - batch.tokens.layout.first).tolist()
        pooled = POOLINGS[self.pooling]
        return list(map(pooled, hidden.split(lengths), summaries))

    def combine(
        self, record: Measured, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Average the vectors of a text's windows; of two texts, compare them."""
        pairs = [
            (window.text, vector)
            for window, vector in zip(windows, outputs, strict=True)
            if isinstance(window, Stretch)
        ]
        vectors = [
            torch.stack([vector for _, vector in group]).mean(0)
            for _, group in groupby(pairs, key=lambda pair: pair[0])
        ]
        cut = any(window.cut for window in windows)
        if len(vectors) == 2:
            likeness = float(F.cosine_similarity(vectors[0], vectors[1], dim=-1))
            found = [{"score": likeness}]
            return Prediction(results=found, answer=likeness, confidence=likeness, cut=cut)
        (vector,) = vectors
        vector = F.normalize(vector, dim=-1) if self.normalize else vector
        results = [] if self.pooling is None else vector.tolist()
        return Prediction(results=results, answer=vector.numpy(), confidence=1.0, cut=cut)

    def metric(self) -> Metric:
        """Begin an evaluation of pairs."""
        return Correlation(same_scale=False)

    def written(self, pairs: Iterable[tuple[Measured, Prediction]]) -> Iterator[str]:
        """Write a TSV of index and prediction, which is the cosine of a pair."""
        yield "index\tprediction\n"
        for index, (_, prediction) in enumerate(pairs):
            yield f"{index}\t{prediction.answer:.6g}\n"

    def shown(self, record: Measured) -> str:
        """Write the text, or both of a pair."""
        return " | ".join(record.texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureExtraction:
    """The kind of task."""

    name: str = "feature-extraction"
    head: str = "none"
    length: int = sys.maxsize  # as long as the model reads

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows."""
        return REGRESSION.rows(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> Measured:
        """Understand a row. Raises UserError, naming it, when it lacks something.

        What is labelled must be a pair, and its label says how alike the two are.
        """
        record = REGRESSION.record(row, columns, labelled)
        if labelled and len(record.texts) != 2:
            raise UserError(
                f"{row.place}: one text; vectors are judged by how alike they make two, so name"
                " two columns with --text A,B"
            )
        return record

    def direct(self, value: Any, place: str) -> Measured:
        """Understand a text, a pair as a tuple, or a mapping of columns."""
        return REGRESSION.direct(value, place)

    def learn(
        self,
        records: Iterable[Measured],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> Embedding:
        """Raise UserError: there is nothing to learn."""
        _refuse()

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> Embedding:
        """Make the task."""
        return Embedding(reading=reading)


TASK = FeatureExtraction()


def _refuse() -> NoReturn:
    raise UserError(
        "feature-extraction is not fine-tuned; for vectors that follow scores of pairs, fine-tune"
        " for the task regression"
    )
