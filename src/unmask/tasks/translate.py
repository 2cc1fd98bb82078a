"""Translation: a text in another language, by BLEU."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from unmask.contracts import Metric
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.rewriting import Rewriting, Source, filled, unweighted
from unmask.scores.bleu import Bleu
from unmask.text import parallel
from unmask.text.columns import Columns, label, texts
from unmask.text.rows import Row, read_rows

SOURCES = (("source",), ("src",), ("text",), ("sentence",))
"""Usual names of the column of what is translated."""
TARGETS = ("target", "tgt", "translation", "label")
"""Usual names of the column of its translation."""
ALONE = "text"
"""The only field of a line of plain text that has no translation beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Translation(Rewriting):
    """Write a text in another language."""

    name: ClassVar[str] = "translation"
    key: ClassVar[str] = "translation_text"

    def metric(self) -> Metric:
        """Begin an evaluation."""
        return Bleu()


@dataclass(frozen=True, kw_only=True, slots=True)
class TranslationKind:
    """The kind of task."""

    name: str = "translation"
    head: str = "seq2seq-lm"
    length: int = 512

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of rows, or two of plain text, `a,b`, whose lines are each other's texts."""
        sides = parallel.sides(path)
        if len(sides) == 1 and not parallel.plain(path):
            yield from read_rows(path)
            return
        if len(sides) > 2:
            raise UserError(f"{path}: {len(sides)} files; give one of each of two languages")
        parallel.check(sides)  # before hours may be spent on those that have partners
        for number, found in enumerate(parallel.lines(sides), 1):
            names = ("source", "target") if len(sides) == 2 else (ALONE,)
            fields = dict(zip(names, found, strict=True))
            yield Row(f"{sides[-1]}, line {number:,}", fields, None)

    def record(self, row: Row, columns: Columns, labelled: bool) -> Source:
        """Understand a row. Raises UserError, naming it, when it lacks something."""
        nested = row.fields.get("translation")
        if isinstance(nested, Mapping):  # as tables of the hub have it: a text for each language
            row = replace(row, fields={**row.fields, **nested})
            del row.fields["translation"]
        found = texts(row, columns, SOURCES)
        if len(found) > 1:
            raise UserError(f"{row.place}: {len(found)} texts; a translation is of one")
        if not labelled:
            return Source(place=row.place, text=found[0])
        if list(row.fields) == [ALONE]:
            raise UserError(
                f"{row.place}: no translation beside it; give the files of both languages,"
                " a.en,a.de, or rows with a column such as target"
            )
        if not found[0].strip():
            raise UserError(f"{row.place}: the text to translate is empty; leave the row out")
        right = filled(label(row, columns, TARGETS), row.place)
        return Source(place=row.place, text=found[0], label=right)

    def direct(self, value: Any, place: str) -> Source:
        """Understand a text, or a mapping of columns."""
        if isinstance(value, Mapping):
            return self.record(Row(place, dict(value), None), Columns(), False)
        if not isinstance(value, str):
            raise UserError(f"{place}: {value!r} is not a text")
        return Source(place=place, text=value)

    def learn(
        self,
        records: Iterable[Source],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> Translation:
        """Make the task; texts need no names. Raises UserError for weights."""
        unweighted(weights)
        return Translation(reading=reading)

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> Translation:
        """Make the task that a saved model was fine-tuned for."""
        return Translation.restored(config, reading)


TASK = TranslationKind()
