"""The verb `predict`: results for texts, or for the rows of a file, a JSON line for each."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from unmask import console
from unmask.errors import UserError
from unmask.predict.model import Blanks, Model
from unmask.text.rows import Row, read_rows
from unmask.verbs import PredictOptions, verb

CHUNK = 1_000_000
"""Characters, and `ROWS` rows, that are held at once: enough to find texts of like lengths."""
ROWS = 1_000

SHOWN = 10
"""Skipped rows that are named; the others are counted."""

Result = dict[str, Any]
"""A row with its `results`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What became of the rows."""

    rows: int
    """Rows with results."""
    skipped: int
    """Rows without, because they could not be predicted."""
    cut: int
    """Texts of which the model could read a part only."""
    output: Path | None
    """The file of the results; None when they went elsewhere."""
    results: list[Result] = field(default_factory=list)
    """The rows with their results, when JSON was asked for and no file."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints; results that went to a file are read from it."""
        results = self.results
        if self.output is not None:
            with self.output.open(encoding="utf-8") as lines:
                results = [json.loads(line) for line in lines]
        return {
            "results": results,
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
    if bool(options.texts) == (options.input is not None):
        raise UserError("give either texts or --input FILE")
    if options.top_k < 1:
        raise UserError(f"--top-k {options.top_k}: ask for at least one result")
    run = _Run(Model.from_pretrained(options.model), options)
    if options.input is None:
        rows: Iterable[Row] = _direct(options)
    else:
        rows = read_rows(str(options.input), options.text)
    kept: list[Result] = []
    with _sink(options, kept) as write, _bar(options) as tell:
        for done, results in run.results(rows):
            for result in results:
                write(result)
            tell(done, run.rows)
    said = f"{run.rows:,} row{'' if run.rows == 1 else 's'}"
    said += f", {run.skipped:,} skipped" if run.skipped else ""
    said += f", {run.cut:,} longer than {run.model.longest:,} tokens and cut" if run.cut else ""
    console.words().print(said + (f" -> {options.output}" if options.output else ""))
    return Predicted(
        rows=run.rows, skipped=run.skipped, cut=run.cut, output=options.output, results=kept
    )


@dataclass(slots=True)
class _Run:
    """A pass over rows, with the counts of what it met."""

    model: Model
    options: PredictOptions
    rows: int = 0
    skipped: int = 0
    cut: int = 0

    def results(self, rows: Iterable[Row]) -> Iterator[tuple[float | None, list[Result]]]:
        """Predict chunk by chunk; beside the results, the share of the rows that is done."""
        for chunk in _chunks(rows):
            sound = [(row, blanks) for row in chunk if (blanks := self._blanks(row))]
            answers = self.model.answers([blanks for _, blanks in sound], self.options.top_k)
            self.rows += len(sound)
            self.cut += sum(blanks.cut for _, blanks in sound)
            pairs = zip(sound, answers, strict=True)
            yield chunk[-1].done, [{**row.fields, "results": found} for (row, _), found in pairs]

    def _blanks(self, row: Row) -> Blanks | None:
        """Lay out a row's text; None when it cannot be and may be skipped."""
        text = ""
        try:
            text = row.text(self.options.text)
            return self.model.blanks(text)
        except UserError as error:
            # What is wrong with a text is said without its place, what is wrong with a row with it.
            said = f"{row.place}: {error}" if text else str(error)
            if self.options.on_error == "stop":
                raise UserError(f"{said}; or pass --on-error skip") from error
        self.skipped += 1
        if self.skipped <= SHOWN:
            more = "; further ones are only counted" if self.skipped == SHOWN else ""
            console.words().print(f"skipped {said}{more}")
        return None


def _direct(options: PredictOptions) -> Iterator[Row]:
    """Make rows of the texts that were given directly."""
    for number, text in enumerate(options.texts, 1):
        yield Row(f"text {number}", {options.text: text}, number / len(options.texts))


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(value) for value in row.fields.values() if isinstance(value, str))
        if size >= CHUNK or len(chunk) >= ROWS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _sink(
    options: PredictOptions, kept: list[Result]
) -> AbstractContextManager[Callable[[Result], Any]]:
    """Choose where results go: a file, a list for `--json`, or standard output."""
    if options.output is not None:
        return _file(options.output)
    if options.json:
        return nullcontext(kept.append)
    return nullcontext(lambda result: print(_line(result)))


@contextmanager
def _file(path: Path) -> Iterator[Callable[[Result], Any]]:
    """Write a file that appears under its name when it is whole."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield lambda result: file.write(_line(result) + "\n")
        partial.replace(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no folder {path.parent}; make it first") from error
    finally:
        partial.unlink(missing_ok=True)


def _line(result: Result) -> str:
    return json.dumps(result, ensure_ascii=False, default=str)


@contextmanager
def _bar(options: PredictOptions) -> Iterator[Callable[[float | None, int], None]]:
    """Show a progress bar, unless it would stand among the results or in a log."""
    words = console.words()
    shown = words.is_terminal and not (options.output is None and sys.stdout.isatty())
    with Progress(
        TextColumn("predicting"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
        console=words,
        disable=not shown,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task("", total=None, rows=0)

        def tell(done: float | None, rows: int) -> None:
            if done is not None:
                progress.update(task, total=1.0, completed=done)
            progress.update(task, rows=rows)

        yield tell
