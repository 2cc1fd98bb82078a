"""Summarization: a short text for each long one, written by an encoder-decoder.

Warm-started from BERTs it is that of Rothe et al. 2020, https://arxiv.org/abs/1907.12461.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from unmask.contracts import Metric
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.rewriting import Rewriting, Source, filled, unweighted
from unmask.scores.rouge import Rouge
from unmask.text.columns import Columns, label, texts
from unmask.text.rows import Row, read_rows
from unmask.text.sentences import splitter

DOCUMENTS = (("document",), ("article",), ("text",), ("source",), ("dialogue",))
"""Usual names of the column of what is summarized."""
SUMMARIES = ("summary", "summaries", "highlights", "abstract", "target", "label")
"""Usual names of the column of its summary, or of several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document(Source):
    """A text with its sentences; its label is a list of summaries, each as good as the others."""

    sentences: tuple[str, ...] | None = None
    """Where the row tells them; None: they have to be found."""

    def divided(self) -> tuple[str, ...]:
        """Give the sentences."""
        return tuple(splitter("punkt")(self.text)) if self.sentences is None else self.sentences


@dataclass(frozen=True, kw_only=True, slots=True)
class Summarization(Rewriting):
    """Write what is most important in a text."""

    name: ClassVar[str] = "summarization"
    key: ClassVar[str] = "summary_text"

    def metric(self) -> Metric:
        """Begin an evaluation."""
        return Rouge()


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentKind:
    """What the kinds of tasks on documents share: how these are read."""

    length: int = 512

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows."""
        return read_rows(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> Document:
        """Understand a row with a text, or the list of its sentences, and a summary or several.

        Raises UserError, naming the row, when it lacks something.
        """
        lists = {name: tuple(value) for name, value in row.fields.items() if _sentences(value)}
        joined = {name: " ".join(value) for name, value in lists.items()}
        flat = Row(row.place, {**row.fields, **joined}, row.done, row.error)
        found = texts(flat, columns, DOCUMENTS)
        if len(found) > 1:
            raise UserError(f"{row.place}: {len(found)} texts; a summary is of one")
        right = None
        if labelled:
            told = label(row, columns, SUMMARIES)
            several = told if isinstance(told, list) and told else [told]
            right = [filled(one, row.place) for one in several]
        sentences = next((lists[name] for name in lists if joined[name] == found[0]), None)
        return Document(place=row.place, text=found[0], sentences=sentences, label=right)

    def direct(self, value: Any, place: str) -> Document:
        """Understand a text, a list of its sentences, or a mapping of columns."""
        if isinstance(value, str):
            return Document(place=place, text=value)
        fields = value if isinstance(value, Mapping) else {"document": value}
        if not isinstance(value, Mapping) and not _sentences(value):
            raise UserError(f"{place}: {value!r} is neither a text nor a list of its sentences")
        return self.record(Row(place, dict(fields), None), Columns(), False)


@dataclass(frozen=True, kw_only=True, slots=True)
class SummarizationKind(DocumentKind):
    """The kind of task."""

    name: str = "summarization"
    head: str = "seq2seq-lm"

    def learn(
        self,
        records: Iterable[Document],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> Summarization:
        """Make the task; texts need no names. Raises UserError for weights."""
        unweighted(weights)
        return Summarization(reading=reading)

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> Summarization:
        """Make the task that a saved model was fine-tuned for."""
        return Summarization.restored(config, reading)


TASK = SummarizationKind()


def _sentences(value: Any) -> bool:
    """Tell whether a value is a list of texts."""
    texts = isinstance(value, Sequence) and not isinstance(value, str)
    return texts and bool(value) and all(isinstance(one, str) for one in value)
