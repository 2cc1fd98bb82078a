"""Text classification: a label, or several at once, for a text or a pair of texts.

The state of the token that stands for the sequence, of BERT `[CLS]`, goes through the pooler to one
score for each label (Devlin et al. 2019, section 4.1). M windows of a batch, W width, K labels.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.contracts import Labelled, Metric, Prediction, Record
from unmask.data import windows as laying
from unmask.data.weights import weigh
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part, cross_entropy
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.scores.confusion import Confusion, ManyLabels
from unmask.text.columns import Columns, label, texts
from unmask.text.rows import Row, read_rows
from unmask.text.tokenizer import Tokenizer

Problem = Literal["single_label_classification", "multi_label_classification"]
LABELS = ("label", "labels", "class", "category")
"""Usual names of the column of the label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledText(Record):
    """A text or a pair, and its label: a name, or a tuple of names where there may be several."""

    texts: tuple[str, ...]
    kind: str | None = None
    """What the label was in the file: a text, a number, a list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """Find the label, or the labels, of a text or a pair."""

    reading: Reading
    labels: tuple[str, ...]
    problem: Problem
    """Whether a text has one label or any number of them."""
    weights: tuple[float, ...] | None = None
    """How much a text counts in training, by its label."""
    ranked: bool = True

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task."""
        return {"problem_type": self.problem}

    def windows(self, records: Sequence[LabelledText], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each record. Raises UserError for a label that is not among the task's."""
        targets = [self._target(record) for record in records]
        pairs = [record.texts for record in records]
        return laying.texts(pairs, targets, tokenizer, self.reading)

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be trained on by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end; labels are (M,) int64, or (M, K) float32 of 0 and 1."""
        tokens = laying.lay(windows)
        rows = laying.summaries(windows, tokens.layout)
        targets = [window.target for window in windows]
        if targets[0] is None:
            return Labelled(tokens, rows, None)
        labels = torch.tensor(targets)
        if self.problem == "multi_label_classification":
            return Labelled(tokens, rows, labels.float(), counts={"task": labels.numel()})
        weight = len(targets) if self.weights is None else sum(self.weights[t] for t in targets)
        return Labelled(tokens, rows, labels, counts={"task": weight})

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Cross-entropy of the label; of each label by itself where there may be several."""
        assert batch.labels is not None, "training needs labels"
        scores = head.classify(encoder(batch.tokens), batch.rows)  # (M, K)
        if self.problem == "multi_label_classification":
            total = F.binary_cross_entropy_with_logits(
                scores.float(), batch.labels, reduction="sum"
            )
            return {"task": Part(total, ((scores > 0) == (batch.labels > 0)).sum())}
        weights = None if self.weights is None else scores.new_tensor(self.weights).float()
        return {"task": cross_entropy(scores, batch.labels, weights)}

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> list[Tensor]:
        """Score each label for each window: (K,)."""
        return list(head.classify(encoder(batch.tokens), batch.rows).float().unbind())

    def combine(
        self,
        record: LabelledText,
        windows: Sequence[Window],
        outputs: Sequence[Tensor],
        top_k: int,
    ) -> Prediction:
        """Average the windows' scores and rank the labels."""
        scores = torch.stack(list(outputs)).mean(0)  # (K,)
        several = self.problem == "multi_label_classification"
        shares = scores.sigmoid() if several else scores.softmax(-1)
        best = shares.topk(min(top_k, len(self.labels)))
        results = [
            {"label": self.labels[label], "score": score}
            for score, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        answer: Any = results[0]["label"]
        confidence = results[0]["score"]
        if several:
            chosen = shares > 0.5
            answer = tuple(
                label for label, one in zip(self.labels, chosen.tolist(), strict=True) if one
            )
            confidence = float(torch.where(chosen, shares, 1 - shares).prod())
        cut = any(window.cut for window in windows)
        return Prediction(results=results, answer=answer, confidence=confidence, cut=cut)

    def metric(self) -> Metric:
        """Begin an evaluation."""
        single = self.problem == "single_label_classification"
        return Confusion(self.labels) if single else ManyLabels(self.labels)

    def written(self, pairs: Iterable[tuple[LabelledText, Prediction]]) -> Iterator[str]:
        """Write predictions as GLUE wants them: a TSV of index and prediction."""
        yield "index\tprediction\n"
        for index, (_, prediction) in enumerate(pairs):
            several = isinstance(prediction.answer, tuple)
            answer = ",".join(prediction.answer) if several else prediction.answer
            yield f"{index}\t{answer}\n"

    def shown(self, record: LabelledText) -> str:
        """Write the text, or both of a pair."""
        return " | ".join(record.texts)

    def _target(self, record: LabelledText) -> int | list[int] | None:
        """Number a record's label; 0 or 1 for each where there may be several."""
        if record.label is None:
            return None
        several = self.problem == "multi_label_classification"
        if isinstance(record.label, tuple) != several:
            expected = "a list of labels" if several else "one label"
            raise UserError(f"{record.place}: the label is {record.kind}; the model has {expected}")
        for name in record.label if several else (record.label,):
            if name not in self.labels:
                raise UserError(
                    f"{record.place}: label {name!r} is unknown; there are {', '.join(self.labels)}"
                )
        if several:
            return [int(name in record.label) for name in self.labels]
        return self.labels.index(record.label)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextClassification:
    """The kind of task."""

    name: str = "text-classification"
    head: str = "text-classification"
    length: int = 512

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows."""
        return read_rows(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> LabelledText:
        """Understand a row. Raises UserError, naming it, when it lacks something."""
        found = one_or_two(texts(row, columns), row.place)
        if not labelled:
            return LabelledText(place=row.place, texts=found)
        name, kind = _named(label(row, columns, LABELS), row.place)
        return LabelledText(place=row.place, texts=found, label=name, kind=kind)

    def direct(self, value: Any, place: str) -> LabelledText:
        """Understand a text, a pair as a tuple, or a mapping of columns."""
        if isinstance(value, Mapping):
            return self.record(Row(place, dict(value), None), Columns(), False)
        return LabelledText(place=place, texts=plain(value, place))

    def learn(
        self,
        records: Iterable[LabelledText],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> Classification:
        """Collect the labels, in order of number or alphabet.

        Raises UserError for labels of mixed kinds, and where there are fewer than two.
        """
        counts: Counter[str] = Counter()
        first: LabelledText | None = None
        for record in records:
            first = first or record
            if record.kind != first.kind:
                raise UserError(
                    f"{record.place}: the label is {record.kind}, but in {first.place} it is"
                    f" {first.kind}; give all rows labels of one kind"
                )
            counts.update(record.label if isinstance(record.label, tuple) else [record.label])
        assert first is not None, "who reads the records sees that there are some"
        if len(counts) < 2:
            raise UserError(
                f"{first.place}: all rows have the same label {', '.join(map(repr, counts))};"
                " there must be at least two to tell apart"
            )
        labels = tuple(sorted(counts, key=_order))
        several = isinstance(first.label, tuple)
        if several and weights is not None:
            raise UserError("class weights are for tasks of one label a text; here it has several")
        return Classification(
            reading=reading,
            labels=labels,
            problem="multi_label_classification" if several else "single_label_classification",
            weights=weigh(weights, labels, counts),
        )

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> Classification:
        """Make the task that a saved model was fine-tuned for."""
        several = config.get("problem_type") == "multi_label_classification"
        return Classification(
            reading=reading,
            labels=labels,
            problem="multi_label_classification" if several else "single_label_classification",
        )


TASK = TextClassification()


def plain(value: Any, place: str) -> tuple[str, ...]:
    """Take a text or a pair of texts as Python gives it. Raises UserError for anything else."""
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, tuple) or not all(isinstance(text, str) for text in found):
        raise UserError(f"{place}: {value!r} is neither a text nor a tuple of two")
    return one_or_two(found, place)


def one_or_two(found: tuple[str, ...], place: str) -> tuple[str, ...]:
    """Refuse more than two texts."""
    if len(found) > 2:
        raise UserError(f"{place}: {len(found)} texts; the model reads one text or two")
    return found


def _named(value: Any, place: str) -> tuple[str | tuple[str, ...], str]:
    """Write a label as a name, or several as a tuple of them; and say what it was."""
    if isinstance(value, list):
        if not all(isinstance(one, str | int) for one in value):
            raise UserError(f"{place}: the labels {value!r} are not all names or whole numbers")
        return tuple(str(one) for one in value), "a list"
    if isinstance(value, bool | int | str):
        kind = {bool: "true or false", int: "a number", str: "a text"}[type(value)]
        return str(value), kind
    raise UserError(
        f"{place}: the label is {value!r}, neither a name nor a whole number; numbers with a"
        " fraction are for the task regression"
    )


def _order(name: str) -> tuple[bool, int, str]:
    """Sort whole numbers by size, before all other names."""
    number = name.removeprefix("-").isdecimal()
    return (not number, int(name) if number else 0, name)
