"""The verb `evaluate`: the official figures of a model on labelled rows."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from unmask import console, hardware
from unmask.contracts import Metric, Prediction, Task
from unmask.model.prepacked import prepacked
from unmask.predict.bar import bar, told
from unmask.predict.model import Model
from unmask.predict.output import whole
from unmask.predict.predictor import predictions
from unmask.predict.purpose import laid_out, purpose
from unmask.predict.records import columns_of, records
from unmask.scores.signature import signature
from unmask.verbs import EvaluateOptions, verb


@dataclass(frozen=True, kw_only=True)
class Evaluated(Mapping[str, float]):
    """The figures by their usual names, and what they are of."""

    task: str
    metrics: dict[str, float]
    rows: int
    """Records that were predicted."""
    cut: int
    """Records of which the model could read a part only."""
    seconds: float
    """From the first row read to the last one scored."""
    predictions: Path | None
    """The file of what was predicted."""
    signature: str | None = None
    """How the figures were found, where that is a matter of choice."""

    def __getitem__(self, name: str) -> float:
        return self.metrics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        told = {"rows": self.rows, "cut": self.cut, "seconds": self.seconds}
        signed = {} if self.signature is None else {"signature": self.signature}
        figures = {**self.metrics, **signed}
        return {"task": self.task, **figures, **told, "predictions": self.predictions}

    def __rich__(self) -> Table:
        """Show the figures."""
        grid = Table.grid(padding=(0, 2))
        for name, value in self.metrics.items():
            grid.add_row(name, f"{value:.4f}")
        if self.signature is not None:
            grid.add_row("signature", self.signature)
        return grid


@verb(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> Evaluated:
    """Score a model on labelled rows, which are read and predicted in bounded memory.

    Raises UserError for bad data, with file and line, and for a model that was made for something
    else.
    """
    hardware.keep_memory()
    model, name = options.model, "the model"
    if not isinstance(model, Model):
        model = Model.from_pretrained(options.model, options.language)
        name = str(options.model)
        model.network.to(hardware.device())
    elif options.language is not None:
        model = Model(model.pretrained.speaking(options.language))
    kind, task = purpose(model.pretrained, name, options.task, options.set)
    task = laid_out(task, options.long)
    count = _Count(task.metric())
    device = next(model.network.parameters()).device
    dtype = hardware.products(options.precision, device)
    begin = time.perf_counter()
    with bar("evaluating") as tell:
        found = predictions(
            task,
            prepacked(model.network, dtype),
            model.tokenizer,
            records(
                kind,
                options.data,
                columns_of(options.text, options.label),
                read=lambda row: tell(row.done, count.rows),
            ),
            dtype,
        )
        _consume(task, count.taken(found), options.predictions)
    result = Evaluated(
        task=kind.name,
        metrics=count.metric.result(),
        rows=count.rows,
        cut=count.cut,
        seconds=time.perf_counter() - begin,
        predictions=options.predictions,
        signature=signature(count.metric),
    )
    console.words().print(told(count.rows, count.cut, task.reading.length, options.predictions))
    return result


@dataclass(slots=True)
class _Count:
    """An evaluation as it goes on."""

    metric: Metric
    rows: int = 0
    cut: int = 0

    def taken(self, found: Iterable[tuple[Any, Prediction]]) -> Iterator[tuple[Any, Prediction]]:
        """Take in predictions as they pass."""
        for record, prediction in found:
            self.metric.add(record, prediction)
            self.rows += 1
            self.cut += prediction.cut
            yield record, prediction


def _consume(task: Task, pairs: Iterable[tuple[Any, Prediction]], path: Path | None) -> None:
    """Let predictions pass, into a file where one is wanted."""
    if path is None:
        for _ in pairs:
            pass
        return
    with whole(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(task.written(pairs))
