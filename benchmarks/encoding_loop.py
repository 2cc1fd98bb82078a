"""The usual loop around a model: tokenise, sort by length, fill up, run, put back in order.

N texts of a batch, L pieces of the longest, W width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from tokenizers import Tokenizer

from encoding_data import LENGTH, WIDTH, Work, job, start
from job import Job

Fields = dict[str, np.ndarray]
"""(N, L) int64 each."""
Ids = Callable[[Sequence[str]], list[list[int]]]
"""Gives the pieces of each text, special ones included."""
Vectors = Callable[[Iterable[Fields]], Iterable[np.ndarray]]
"""Runs a model on batches, gives normalised means of states: each (N, W) float32."""
States = Callable[[Fields], np.ndarray]
"""Runs a model on a batch: -> (N, L, W) float32."""


def tokeniser(length: int = LENGTH) -> Ids:
    """Give the tokenizer without a library around it, which costs memory and time."""
    made = Tokenizer.from_file(str(start() / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(length)
    return lambda texts: [one.ids for one in made.encode_batch(list(texts))]


def batches(sizes: Sequence[int], texts: int, tokens: int, sort: bool) -> Iterator[list[int]]:
    """Divide rows of these sizes into batches, the longest first where they are sorted.

    texts: of a batch; or, where it is not 0, tokens: of a batch that is filled up.
    """
    order = sorted(range(len(sizes)), key=lambda row: -sizes[row]) if sort else range(len(sizes))
    batch: list[int] = []
    for row in order:
        longest = max([sizes[row], *(sizes[other] for other in batch[:1])])
        if batch and ((len(batch) + 1) * longest > tokens if tokens else len(batch) == texts):
            yield batch
            batch = []
        batch.append(row)
    yield batch


def filled(ids: Sequence[Sequence[int]]) -> Fields:
    """Lay texts out as rows, filled up to the longest: (N, L)."""
    shape = len(ids), max(map(len, ids))
    found = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask")}
    for row, one in enumerate(ids):
        found["input_ids"][row, : len(one)] = one
        found["attention_mask"][row, : len(one)] = 1
    return found | {"token_type_ids": np.zeros(shape, np.int64)}


def looped(
    work: Work, ids_of: Ids, vectors: Vectors, states: States, texts: int, tokens: int, sort: bool
) -> Job:
    """Make the job of a model that leaves batching to its user."""

    def encode(given: Sequence[str]) -> np.ndarray:
        ids = ids_of(given)
        parts = list(batches([len(one) for one in ids], texts, tokens, sort))
        laid = (filled([ids[row] for row in rows]) for rows in parts)
        found = np.empty((len(ids), WIDTH), np.float32)
        for rows, made in zip(parts, vectors(laid), strict=True):
            found[rows] = made
        return found

    def read(given: Sequence[str]) -> list[np.ndarray]:
        ids = ids_of(given)
        found: list[np.ndarray] = [np.empty(0)] * len(ids)
        for rows in batches([len(one) for one in ids], texts, tokens, sort):
            made = states(filled([ids[row] for row in rows]))
            for row, one in zip(rows, made, strict=True):
                found[row] = np.array(one[: len(ids[row])])
        return found

    return job(work, encode, read)
