"""From records to predictions: in batches of like lengths, in bounded memory, in order."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from unmask.contracts import Prediction, Task
from unmask.model.network import Network
from unmask.text.tokenizer import Tokenizer

BATCH_TOKENS = 2048
"""Tokens that are read at once: few enough for the caches of a CPU."""
CHUNK = 1_000_000
"""Characters, and `ROWS` records, that are held at once: enough to find texts of like lengths."""
ROWS = 1_000


def predictions(
    task: Task,
    network: Network,
    tokenizer: Tokenizer,
    records: Iterable[Any],
    autocast: AbstractContextManager[Any] | None = None,
    top_k: int = 1,
) -> Iterator[tuple[Any, Prediction]]:
    """Predict for records, in their order.

    In float32 the same record gives the same prediction, within rounding, whatever stands beside
    it. autocast: in which products may run in another type. Raises UserError for a record whose
    label the task does not know.
    """
    for chunk in chunks(records, task):
        laid = task.windows(chunk, tokenizer)
        units = [unit for windows in laid for unit in task.units(windows)]
        scores = iter(_outputs(task, network, units, autocast or nullcontext()))
        for record, windows in zip(chunk, laid, strict=True):
            own = [next(scores) for _ in windows]
            yield record, task.combine(record, windows, own, top_k)


def chunks(records: Iterable[Any], task: Task) -> Iterator[list[Any]]:
    """Divide records into lists that are held at once."""
    chunk: list[Any] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(task.shown(record))
        if size >= CHUNK or len(chunk) >= ROWS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _outputs(
    task: Task, network: Network, units: Sequence[Sequence[Any]], autocast: Any
) -> list[Tensor]:
    """Run all units: the scores of their windows, in order."""
    assert not network.training, "a model predicts in evaluation mode"
    device = next(network.parameters()).device
    found: list[list[Tensor]] = [[]] * len(units)
    for rows in batches([sum(len(window.ids) for window in unit) for unit in units]):
        batch = task.batch([window for row in rows for window in units[row]])
        with torch.inference_mode(), autocast:
            scores = iter(task.outputs(network.encoder, network.head, batch.to(device)))
        for row in rows:
            found[row] = [next(scores).cpu() for _ in units[row]]
    return [one for unit in found for one in unit]


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Divide rows into batches of at most BATCH_TOKENS, the longest first, so that memory shows."""
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and tokens + lengths[row] > BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    if batch:
        yield batch
