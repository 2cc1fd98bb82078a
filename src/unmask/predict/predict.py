"""The verb `predict`: results for texts, or for the rows of a file, a row for each."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Group

from unmask import console, hardware
from unmask.contracts import Kind, Prediction, Task
from unmask.errors import UserError
from unmask.model.prepacked import prepacked
from unmask.predict import output
from unmask.predict.bar import bar, told
from unmask.predict.model import FILLINGS, Model
from unmask.predict.output import Result, Write
from unmask.predict.predictor import predictions
from unmask.predict.purpose import check_results, laid_out, purpose
from unmask.predict.records import columns_of
from unmask.tasks.embed import Embedding
from unmask.text.columns import sound
from unmask.text.parallel import sides
from unmask.text.reading import form
from unmask.text.rows import Row, read_rows
from unmask.verbs import PredictOptions, verb

SHOWN = 10
"""Skipped rows that are named; the others are counted."""
TEXTS = ".txt"
"""Ending of files that have a text on each line, whatever a task itself reads in them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What became of the rows."""

    rows: int
    """Rows with results."""
    skipped: int
    """Rows without, because they could not be predicted."""
    cut: int
    """Rows of which the model could read a part only."""
    output: Path | None
    """The file of the results; None when they went elsewhere."""
    results: list[Result] = field(default_factory=list)
    """The rows with their results, when JSON was asked for and no file."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints; results that went to a file are read from it."""
        return {
            "results": self.results if self.output is None else output.read(self.output),
            "rows": self.rows,
            "skipped": self.skipped,
            "cut": self.cut,
            "output": self.output,
        }

    def __rich__(self) -> Group:
        """Show nothing: the lines are on standard output, or in the file, already."""
        return Group()


@verb(PredictOptions)
def predict(options: PredictOptions) -> Predicted:
    """Predict for texts or for the rows of a file, in their order and in bounded memory.

    Raises UserError for a row that cannot be predicted, unless such rows are to be skipped.
    """
    _check(options)
    hardware.keep_memory()
    model = Model.from_pretrained(options.model, options.language)
    model.network.to(hardware.device())
    kind, task = purpose(model.pretrained, options.model, options.task, options.set)
    if options.top_k is not None:
        check_results(task, options.top_k)
    run = _Run(kind, _adapted(kind, task, options), options)
    kept: list[Result] = []
    printing = options.output is None
    with _sink(options, kept) as write, bar("predicting", printing) as tell:
        for row, prediction in run.predictions(model):
            write({**row.fields, output.RESULTS: prediction.results})
            tell(row.done, run.rows)
    length = run.task.reading.length
    console.words().print(told(run.rows, run.cut, length, options.output, run.skipped))
    return Predicted(
        rows=run.rows, skipped=run.skipped, cut=run.cut, output=options.output, results=kept
    )


@dataclass(slots=True)
class _Run:
    """A pass over rows, with the counts of what it met."""

    kind: Kind
    task: Task
    options: PredictOptions
    rows: int = 0
    skipped: int = 0
    cut: int = 0
    waiting: deque[tuple[Row, Any]] = field(default_factory=deque)
    """Rows with their records that are not predicted yet."""

    def predictions(self, model: Model) -> Iterator[tuple[Row, Prediction]]:
        """Predict for every row that can be."""
        device = next(model.network.parameters()).device
        dtype = hardware.products(self.options.precision, device)
        found = predictions(
            self.task,
            prepacked(model.network, dtype),
            model.tokenizer,
            self._records(),
            dtype,
            self.options.top_k or (1 if self.task.ranked else FILLINGS),
            lambda record, error: self._skip(error),
        )
        for record, prediction in found:
            row, own = self.waiting.popleft()
            while own is not record:  # it was skipped
                row, own = self.waiting.popleft()
            self.rows += 1
            self.cut += prediction.cut
            yield row, prediction

    def _records(self) -> Iterator[Any]:
        """Understand the rows, and skip those that cannot be if that is wanted."""
        for row, understand in self._rows():
            try:
                sound(row)
                record = understand(row)
            except UserError as error:
                self._skip(error)
                continue
            self.waiting.append((row, record))
            yield record

    def _rows(self) -> Iterator[tuple[Row, Callable[[Row], Any]]]:
        """Give the texts that were given directly, or the rows of the file; and how to read one."""
        texts, file, columns = self.options.texts, self.options.input, self.options.text
        for number, text in enumerate(texts, 1):
            row = Row(f"text {number}", {"text": text}, number / len(texts))
            yield row, lambda row: self.kind.direct(row.fields["text"], row.place)
        if file is not None:
            named = columns_of(columns, None)
            of_texts = form(str(file)) == TEXTS and len(sides(str(file))) == 1
            rows = (
                read_rows(str(file), columns or "text") if of_texts else self.kind.rows(str(file))
            )
            for row in rows:
                yield row, lambda row: self.kind.record(row, named, False)

    def _skip(self, error: UserError) -> None:
        """Count a row that cannot be predicted, or raise its error."""
        if self.options.on_error == "stop":
            raise UserError(f"{error}; or pass --on-error skip") from error
        self.skipped += 1
        if self.skipped <= SHOWN:
            more = "; further ones are only counted" if self.skipped == SHOWN else ""
            console.words().print(f"skipped {error}{more}")


def _check(options: PredictOptions) -> None:
    """Refuse options that cannot be, before the model is read."""
    if bool(options.texts) == (options.input is not None):
        raise UserError("give either texts or --input FILE")
    if options.top_k is not None and options.top_k < 1:
        raise UserError(f"--top-k {options.top_k}: ask for at least one result")
    if options.output is not None:
        output.check(options.output)


def _adapted(kind: Kind, task: Task, options: PredictOptions) -> Task:
    """Lay the options over what the model was made for."""
    task = laid_out(task, options.long)
    if options.pooling is None and not options.normalize:
        return task
    if not isinstance(task, Embedding):
        raise UserError(
            f"--pooling and --normalize are for vectors, but {options.model} was made for"
            f" {kind.name}; add --task feature-extraction"
        )
    return replace(task, pooling=options.pooling or task.pooling, normalize=options.normalize)


def _sink(options: PredictOptions, kept: list[Result]) -> AbstractContextManager[Write]:
    """Choose where results go: a file, a list for `--json`, or standard output."""
    if options.output is not None:
        return output.rows(options.output)
    if options.json:
        return nullcontext(kept.append)
    return nullcontext(lambda result: print(output.line(result)))
