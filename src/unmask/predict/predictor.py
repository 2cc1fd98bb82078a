"""From records to predictions: in batches of like lengths, in bounded memory, in order."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unmask import hardware
from unmask.contracts import Prediction, Task
from unmask.data.windows import Window
from unmask.errors import UserError
from unmask.lanes import lanes, side_by_side
from unmask.model.network import Network
from unmask.rewriting import Rewriting
from unmask.text.tokenizer import Tokenizer

BATCH_TOKENS = 2048
"""Tokens that are read at once: few enough for the caches of a CPU."""
CHUNK = 1_000_000
"""Characters, and `ROWS` records, that are held at once: enough to find texts of like lengths."""
ROWS = 1_024
WRITTEN = 128
"""Records of which a text is written, which takes so long that people want to see it go on."""


def predictions(
    task: Task,
    network: Network,
    tokenizer: Tokenizer,
    records: Iterable[Any],
    products: torch.dtype = torch.float32,
    top_k: int = 1,
    failed: Callable[[Any, UserError], None] | None = None,
) -> Iterator[tuple[Any, Prediction]]:
    """Predict for records, in their order.

    In float32 the same record gives the same prediction, within rounding, whatever stands beside
    it. products: the type in which products run; in bfloat16 a `prepacked` network is faster on a
    CPU, and in int8 the network has to be one. failed: is told of a record that cannot be laid out,
    which is then left out; without it UserError is raised, as for a label that the task does not
    know.
    """
    for chunk in chunks(records, task):
        laid = _laid(task, tokenizer, chunk, failed)
        pending = [_Pending(record, windows, task.units(windows)) for record, windows in laid]
        _run(task, network, pending, products, top_k)
        for one in pending:
            assert one.prediction is not None, "all units were run"
            yield one.record, one.prediction


def chunks(records: Iterable[Any], task: Task) -> Iterator[list[Any]]:
    """Divide records into lists that are held at once."""
    chunk: list[Any] = []
    size, most = 0, WRITTEN if isinstance(task, Rewriting) else ROWS
    for record in records:
        chunk.append(record)
        size += len(task.shown(record))
        if size >= CHUNK or len(chunk) >= most:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


@dataclass(slots=True)
class _Pending:
    """A record whose prediction is to come."""

    record: Any
    windows: list[Window]
    units: list[list[Window]]
    scores: dict[int, list[Tensor]] = field(default_factory=dict)
    """Of the windows of the units that were run, by the units' numbers."""
    prediction: Prediction | None = None

    def take(self, number: int, scores: list[Tensor], task: Task, top_k: int) -> None:
        """Take in the scores of a unit; of the last one, make the prediction and let them go."""
        self.scores[number] = scores
        if len(self.scores) == len(self.units):
            every = [score for _, unit in sorted(self.scores.items()) for score in unit]
            with torch.inference_mode():
                self.prediction = task.combine(self.record, self.windows, every, top_k)
            self.scores = {}


def _laid(
    task: Task,
    tokenizer: Tokenizer,
    chunk: list[Any],
    failed: Callable[[Any, UserError], None] | None,
) -> list[tuple[Any, list[Window]]]:
    """Lay out records, all at once where none fails."""
    try:
        return list(zip(chunk, task.windows(chunk, tokenizer), strict=True))
    except UserError:
        if failed is None:
            raise
    laid = []
    for record in chunk:
        try:
            laid.append((record, task.windows([record], tokenizer)[0]))
        except UserError as error:
            failed(record, error)
    return laid


def _run(
    task: Task,
    network: Network,
    pending: Sequence[_Pending],
    products: torch.dtype,
    top_k: int,
) -> None:
    """Run all units, and make each prediction as soon as its record is complete."""
    assert not network.training, "a model predicts in evaluation mode"
    device = next(network.parameters()).device
    narrow = hardware.between(products, device)
    units = [(one, number, unit) for one in pending for number, unit in enumerate(one.units)]

    def read(rows: list[int]) -> list[Tensor]:
        """Give the scores of the windows of a batch of units."""
        batch = task.batch([window for row in rows for window in units[row][2]]).to(device)
        autocast = torch.autocast(device.type, narrow, enabled=narrow != torch.float32)
        with torch.inference_mode(), autocast:
            return [score.cpu() for score in task.outputs(network.encoder, network.head, batch)]

    parts = list(batches([sum(len(window.ids) for window in unit) for _, _, unit in units]))
    found = side_by_side(lanes(len(parts), device), read, parts)
    for rows, scores in zip(parts, found, strict=True):
        each = iter(scores)
        for row in rows:
            one, number, unit = units[row]
            one.take(number, [next(each) for _ in unit], task, top_k)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Divide rows into batches of at most BATCH_TOKENS, the longest first, so that memory shows.

    They are about alike in size, so that cores that read one each end together.
    """
    total = sum(lengths)
    share = total / max(1, math.ceil(total / BATCH_TOKENS))
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and (tokens >= share or tokens + lengths[row] > BATCH_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    if batch:
        yield batch
